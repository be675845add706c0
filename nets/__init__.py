"""Convolutional networks on Numba kernels: inference, training, CNN face detectors."""
