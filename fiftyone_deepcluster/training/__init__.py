"""The training loop, with its losses, optimizers and stopping rules."""
