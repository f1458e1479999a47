"""Backbones: options and module of one network in one file; see ``base`` for the contract."""
