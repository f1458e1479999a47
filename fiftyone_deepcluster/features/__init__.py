"""From the network's features to the vectors that are clustered."""
