"""Encoders: from the network's outputs to the vectors that are clustered."""
