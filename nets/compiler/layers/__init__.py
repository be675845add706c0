"""The layers that plans are made of."""
