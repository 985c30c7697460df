"""Evaluation: how right masks are, on any labelled frames.

No torch: a segmenter, a dataset and a confusion matrix. Imports `datasets` and `runtime`.
"""
