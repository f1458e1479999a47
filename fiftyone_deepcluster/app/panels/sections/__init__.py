"""Sections of the Clusters panel: stateless functions that render parts of the panel from its model."""
