"""Measurements by name: ``python -m benchmarks.loop``. Each prints a ratio from one run."""
