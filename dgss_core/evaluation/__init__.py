"""Evaluation: data sets and bags, predicted once, scored per condition, judged and reported.

`run.run` is the whole of it; `results` describes what comes out. No torch. Imports `datasets`,
`bags`, `corruptions` and `runtime`.
"""
