"""Analyses of a finished run: layers, units, neighbors, categories."""
