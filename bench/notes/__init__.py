"""The lecture notes, run: one experiment a file."""
