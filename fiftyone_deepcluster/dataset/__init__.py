"""FiftyOne input and output: read images from datasets, write results to fields, store and review runs."""
