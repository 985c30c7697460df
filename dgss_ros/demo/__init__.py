"""`dgss demo`: a drive through all conditions, with the node, the masks and a table of scores."""
