"""How good is a detector: annotated pictures, matching, curves, a report."""

from vj.datasets.annotations import Picture, read_annotations
from vj.evaluate.evaluation import Evaluation, evaluate
from vj.evaluate.report import Report
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
