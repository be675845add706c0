"""Face detectors on networks: image in, `vj.Detections` out.

The weights are the user's own ONNX files; `nets.registry` recognises them by their outputs.
"""

from nets.detectors.scrfd import ScrfdDetector
from nets.detectors.ultralight import UltraLightDetector
from nets.detectors.yunet import YuNetDetector

__all__ = ["ScrfdDetector", "UltraLightDetector", "YuNetDetector"]
