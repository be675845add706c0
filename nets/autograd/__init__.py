"""Reverse-mode differentiation: tensors, the tape, and operations with their backward passes."""
