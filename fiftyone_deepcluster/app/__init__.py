"""The FiftyOne App: operators and panels as thin wrappers of ``dataset``."""
