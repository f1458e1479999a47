"""Sections of the Clusters panel: each draws one thing from the panel's model, and holds no state."""
