"""Vectors in, clusters out. One file a family of algorithms; see ``base`` for the contract."""
