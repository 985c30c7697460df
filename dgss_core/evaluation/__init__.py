"""Evaluation: data sets and bags, predicted once, scored per condition, judged and reported.

`run.run` is the whole of it, and `fleet` for many drives; `results` describes what comes out,
`exports` writes it for other viewers. No torch. Imports `datasets`,
`bags`, `corruptions` and `runtime`.
"""
