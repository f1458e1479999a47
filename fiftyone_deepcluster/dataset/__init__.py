"""FiftyOne in and out: the only core package that imports fiftyone."""
