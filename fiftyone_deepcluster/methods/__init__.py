"""One file a system: an options model and ``build(options) -> Parts``. No method has a loop."""
