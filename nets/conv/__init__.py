"""Convolution: geometry, weight packing, and algorithms for forward and backward pass."""
