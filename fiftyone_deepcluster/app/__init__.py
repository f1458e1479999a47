"""The FiftyOne App: operators and panels, thin over ``dataset``."""
