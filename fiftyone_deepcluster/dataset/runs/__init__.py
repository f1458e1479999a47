"""Runs: executed, stored on a dataset, resumed, removed."""
