"""Heads: feature maps of an encoder in, scores per class out."""
