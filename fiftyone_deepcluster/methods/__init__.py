"""One file a system: an options model and ``build(options) -> Parts``. No recipe has a loop."""
