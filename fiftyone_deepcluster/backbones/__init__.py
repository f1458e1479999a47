"""Backbones: one file per network, with its options and module; see ``base`` for the interface."""
