"""How good is a detector: annotated pictures, matching, curves, a report."""

from vj.evaluate.annotations import Picture, read_annotations
from vj.evaluate.curves import Curve
from vj.evaluate.matching import Match, match
from vj.evaluate.report import Evaluation, Report, evaluate

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
