"""Networks: encoders, adapters, heads and losses, and the published systems made of them.

Plain PyTorch. `importers` rename published weights, `checkpoint` stores ours, `inference` runs a
model over windows and scales. Imports the ground only; knows no data and no training.
"""
