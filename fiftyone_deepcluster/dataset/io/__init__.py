"""Collections of FiftyOne become images; results become fields."""
