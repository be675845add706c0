"""Detection: pyramid, scan, grouping, and why a window was rejected."""
