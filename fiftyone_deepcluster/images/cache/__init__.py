"""Decoded images, kept on disk: decoded once, by several processes."""
