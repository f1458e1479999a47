"""FiftyOne in and out: datasets become images, results become fields, runs are kept and reviewed."""
