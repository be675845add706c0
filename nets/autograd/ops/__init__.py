"""Differentiable operations: each is a forward function and, beside it, its vjp."""
