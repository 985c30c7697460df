"""Evaluation: the accuracy of masks on labelled frames.

No torch: a segmenter, a dataset and a confusion matrix. Imports `datasets` and `runtime`.
"""
