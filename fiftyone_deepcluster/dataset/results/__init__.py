"""What is found out about a finished run: layers, units, neighbours, categories."""
