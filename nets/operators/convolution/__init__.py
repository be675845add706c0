"""Convolution: operators, layers, choice of kernels, merging of siblings."""
