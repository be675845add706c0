"""Differentiable ops, each a forward function with its vjp."""
