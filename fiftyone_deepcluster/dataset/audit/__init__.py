"""Label audits of FiftyOne datasets: from fields to scores, and decisions back to fields."""
