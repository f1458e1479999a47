"""Regularized information maximization."""
