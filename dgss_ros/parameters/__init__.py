"""Parameters: one table declares, checks and documents every parameter of the node."""
