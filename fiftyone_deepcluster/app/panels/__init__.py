"""Panels of the plugin, one file each."""
