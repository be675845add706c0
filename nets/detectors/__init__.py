"""Face detectors on networks: image in, `vj.Detections` out.

Weights of our own nets come with the package; others are the user's own ONNX files, which
`nets.registry` recognises by their outputs.
"""

from nets.detectors.facenet import FaceNetDetector
from nets.detectors.scrfd import ScrfdDetector
from nets.detectors.ultralight import UltraLightDetector
from nets.detectors.yunet import YuNetDetector

__all__ = ["FaceNetDetector", "ScrfdDetector", "UltraLightDetector", "YuNetDetector"]
