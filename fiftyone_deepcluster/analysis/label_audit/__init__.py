"""Which labels are wrong: scores for every label, and other problems of a labeled set; on arrays, without FiftyOne."""
