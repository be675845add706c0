"""How much a file may ask for: one bound for each thing, far above what honest files hold.

A reader refuses what lies beyond before it makes room for it, so that a file of a few bytes cannot
take all memory or time.
"""

from __future__ import annotations

# Cascades. The largest that is known has 3 MB, 120,000 tags and 6,000 nodes.
CASCADE_BYTES = 16 << 20
CASCADE_TAGS = 1 << 20
CASCADE_PARTS = 1 << 20  # nodes, and features
WINDOW_SIDES = range(3, 1025)  # a 3x3 grid fits, and box sums of 8-bit pixels fit 32 bits

# Annotations and saved detections. Those of LVIS, the largest common set, have 1.1 GB.
TEXT_BYTES = 4 << 30
NESTING = 100  # levels of JSON or XML; COCO has 6. Python's recursion ends at about 1000
NAME = 4096  # characters of a name or path: PATH_MAX of Linux
COORDINATE = 1 << 24  # pixels: from here on float32 does not tell neighbouring ones apart
COUNTS = range(10**9)  # of boxes, frames, classes: a number of more digits is none

# Networks.
ONNX_BYTES = (1 << 31) - 1  # of a protobuf message; larger models have their weights outside
ONNX_RANK = 32  # axes of an array: the most of NumPy 1
NET_DEPTH = 100  # blocks of a stage; the deepest stage of a ResNet-152 has 36
NET_CHANNELS = 4096  # of a layer; the widest of a ResNet has 2048
NET_BYTES = 8 << 30  # that all arrays of one run take; a caller may allow more
NET_WORKSPACE = 1 << 31  # bytes that one node needs beside its inputs and outputs
NET_FOLD = 1 << 26  # bytes of a constant that is computed when a graph is read
