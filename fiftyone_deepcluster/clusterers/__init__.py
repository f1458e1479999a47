"""Clusterers: one file per family of algorithms; see ``base`` for the interface."""
