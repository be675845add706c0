"""One claim a file: `experiment(quick)` tries it and returns a `Finding`."""
