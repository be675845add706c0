"""Convolution: geometry, packed weights, and the algorithms of its three products."""
