"""Mid-level patches that are frequent in some clusters and rare elsewhere, as features."""
