"""Trunks by name; see ``base`` for the contract."""
