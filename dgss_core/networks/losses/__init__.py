"""Training losses: per-pixel cross-entropy and the set criterion of Mask2Former."""
