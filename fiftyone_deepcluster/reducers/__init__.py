"""Reducers: fewer dimensions, or another geometry, before clustering."""
