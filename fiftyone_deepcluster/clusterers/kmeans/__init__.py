"""k-means: exact, mini-batch, and by faiss."""
