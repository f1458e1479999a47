"""Methods: one file each, with a model of the options, whose ``build`` returns the parts of the training loop."""
