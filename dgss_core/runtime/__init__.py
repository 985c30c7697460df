"""The runtime: a bundle becomes masks on this machine.

`bundle` and `manifest` describe what was exported, `engines` compile and prove it, `backends` run
it, `segmenter` turns images into masks, `monitoring` and `self_test` check the result. This is
the part that drives in a vehicle: no torch. The one backend that needs torch lives in `export`
and is imported when it is asked for. Imports the wings below: the ground, `images`.
"""
