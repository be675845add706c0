"""Timings against other libraries; ``python -m bench.report`` turns them into bench/README.md."""
