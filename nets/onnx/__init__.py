"""ONNX files: the reader and the writer."""
