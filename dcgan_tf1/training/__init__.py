"""Training: the graph, the session and the loop."""
