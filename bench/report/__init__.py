"""Figures in the documentation, written from bench/results."""
