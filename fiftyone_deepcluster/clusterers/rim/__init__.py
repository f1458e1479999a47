"""Regularised information maximisation."""
