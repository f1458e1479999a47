"""Operators of the plugin, one file each."""
