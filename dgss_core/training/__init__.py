"""Training: one explicit loop for every recipe, from one laptop to many nodes."""
