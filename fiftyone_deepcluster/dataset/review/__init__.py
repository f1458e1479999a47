"""Clusters as people name, merge and correct them."""
