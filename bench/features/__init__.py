"""Integral images, features, correlation."""
