"""`dgss demo`: runs the node on a drive through all conditions and scores its masks."""
