"""Read images from FiftyOne collections; write results to fields."""
