"""The cascade: its model, its files, and the ones that come with the package."""
