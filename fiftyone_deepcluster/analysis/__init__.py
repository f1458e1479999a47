"""What can be read from a finished run."""
