"""`dgss bench node`: the node measured from outside, between processes, over real DDS."""
