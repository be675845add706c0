"""Pictures, targets and assignment for training face detectors.

``data`` reads annotated pictures, face crops and backgrounds; ``augment`` cuts training frames out
of pictures, ``compose`` builds them from crops; ``scenes`` mixes both into batches; ``encode`` and
``assign`` say which cell of which grid learns what. ``sheet`` draws what comes out.
"""
