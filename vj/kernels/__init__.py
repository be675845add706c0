"""Compiled functions on arrays and scalars, and nothing else (the rule stands in ``jit``)."""
