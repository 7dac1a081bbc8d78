"""Reproducing the paper, and measuring: `python -m benchmarks --help`."""
