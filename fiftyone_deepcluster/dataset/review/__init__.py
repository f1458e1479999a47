"""Review of clusters by users: naming, merging, labeling."""
