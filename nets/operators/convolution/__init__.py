"""Convolution: the operators, the layers with weights, the choice of their kernels, merging."""
