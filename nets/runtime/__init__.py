"""Threads, the spin-wait worker pool, call descriptors and reusable memory."""
