"""`dgss bench node`: measures the node from other processes, over real DDS."""
