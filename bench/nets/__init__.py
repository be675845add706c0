"""Networks against onnxruntime, PyTorch and OpenCV's dnn module."""
