"""Shared foundations, independent of images and networks: registry, types, records, progress, devices."""
