"""What is found out about a finished run: layers, units, neighbors, categories."""
