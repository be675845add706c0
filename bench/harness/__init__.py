"""What all benchmarks share: timing, result files, the command line."""
