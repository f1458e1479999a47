"""Patch mining: mid-level visual elements that are frequent in one cluster and rare in others, as features."""
