"""How detections are judged: what counts as a hit, and the curves and figures that follow.

This is the one protocol of the project. `vj.evaluate`, the commands, the benchmarks and the cards
of trained detectors all use it:

- Detections are served by falling score. Each takes the free annotated box that it overlaps most,
  if their intersection over union (IoU) reaches 0.5; a box can be taken once.
- A detection without a box that lies at least half (of its own area) in one region marked to be
  ignored counts neither way. Every other detection without a box is a false positive.
- Networks see pictures at their own size, up to `SIDE` pixels on the longer side.
- Curves run over all scores that the detector gives, on all pictures together, so the threshold at
  which a detector reports by default is one point of the curve.
- Average precision (AP) is the area under precision over recall, with precision made monotone.

Reference: Everingham et al., The Pascal visual object classes challenge, IJCV 88, 2010.
"""

from vj.metrics.curves import Curve, Point
from vj.metrics.matching import Match, match

SIDE = 1024

__all__ = ["SIDE", "Curve", "Match", "Point", "match"]
