"""Face detection: cascades against OpenCV, and the accuracy and speed of all face detectors."""
