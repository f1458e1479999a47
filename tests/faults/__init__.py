"""Real processes that are killed before every single change of the database and of the file system."""
