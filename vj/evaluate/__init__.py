"""How good is a detector: annotated pictures, matching, curves, a report."""

from vj.datasets.annotations import Picture, read_annotations
from vj.evaluate.report import Evaluation, Report, evaluate
from vj.metrics.curves import Curve
from vj.metrics.matching import Match, match

__all__ = [
    "Curve",
    "Evaluation",
    "Match",
    "Picture",
    "Report",
    "evaluate",
    "match",
    "read_annotations",
]
