"""Integral images, Haar, LBP, correlation: validated wrappers over the kernels."""
