"""Training: one explicit loop for every recipe, on one process or on many machines.

`config` defines a recipe, `loop` runs it, `augmentation` crops and changes frames, `generation`
makes synthetic frames. Imports `networks`, `evaluation`, `datasets` and below. Code that runs in
a vehicle never imports it.
"""
