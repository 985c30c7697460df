"""Networks: encoders, adapters, heads and losses, and the published systems built from them.

Plain PyTorch. `importers` renames published weights, `checkpoint` stores ours, `inference` runs a
model over windows and scales. This package does not import datasets or training.
"""
