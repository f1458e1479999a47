"""k-means: exact, in mini-batches, and through faiss."""
