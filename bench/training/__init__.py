"""Training cascades and face networks."""
