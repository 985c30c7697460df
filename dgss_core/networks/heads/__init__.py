"""Heads: feature maps of an encoder in, per-class scores out."""
