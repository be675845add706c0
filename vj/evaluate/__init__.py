"""How good is a detector: annotated pictures, matching, curves, a report."""

from vj.datasets.annotations import Picture, read_annotations
from vj.evaluate.report import Evaluation, Report, evaluate
from vj.metrics import Curve, Match, Point, match

__all__ = [
    "Curve",
    "Evaluation",
    "Match",
    "Picture",
    "Point",
    "Report",
    "evaluate",
    "match",
    "read_annotations",
]
