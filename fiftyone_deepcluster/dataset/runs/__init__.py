"""Runs: made, kept on a dataset, gone on with, cleared away."""
