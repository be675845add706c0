"""What becomes of each operator in a plan."""

from nets.compiler.rules import arithmetic, convolution, layout, normalisation, pooling

__all__ = ["arithmetic", "convolution", "layout", "normalisation", "pooling"]
