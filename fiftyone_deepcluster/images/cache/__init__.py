"""Disk cache of decoded images, filled by parallel worker processes."""
