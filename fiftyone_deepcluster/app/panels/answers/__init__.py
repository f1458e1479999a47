"""Answers of the Clusters panel to the events of its React component, as JSON of bounded size."""
