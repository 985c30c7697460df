"""`dgss bench node`: the node from outside, between processes, over the real middleware."""
