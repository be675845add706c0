"""Pictures, targets and assignment for training face detectors.

``data`` reads annotated pictures, face crops and backgrounds; ``augment`` cuts training frames out
of pictures, ``compose`` builds them from crops; ``scenes`` mixes both into batches; ``encode`` and
``assign`` say which cell of which grid learns what; ``mining`` finds false alarms to learn from.
``python -m nets.detectors.training.sheet`` draws what comes out.

Eight percent of the data are held out for validation, never trained on: a group (a person where
known, the crops and the portrait of one person alike, a photograph, ten neighbours in the numbered
series of lsp_extended) is held out if the first four bytes of SHA-256 of "source/group" are below
0.08 of their range (`store.Entry.held_out`). boxes_dev is not touched at all.
"""
