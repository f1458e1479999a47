"""Reducers: dimensionality reduction before clustering."""
