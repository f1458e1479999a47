"""From images and options to a trained run, without FiftyOne."""
