"""Clustering metrics: agreement of two labelings, matching of clusters, and label-free scores."""
