"""Display of runs in the App outside the panel."""
