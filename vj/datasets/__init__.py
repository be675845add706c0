"""Annotated images: readers of the usual formats."""
