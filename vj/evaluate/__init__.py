"""How good is a detector: annotated pictures, matching, curves, a report."""
