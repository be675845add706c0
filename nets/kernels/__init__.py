"""Compiled loops of the networks: float32, NHWC, one flat arena, nothing allocated."""
