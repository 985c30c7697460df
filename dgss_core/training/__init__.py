"""Training: one explicit loop for every recipe, from one laptop to many nodes.

`config` is a recipe, `loop` runs it, `augmentation` decides what is seen of a frame, `generation`
makes frames that nobody took. Imports `networks`, `evaluation`, `datasets` and below; a vehicle
never imports it.
"""
