"""The runtime: runs a bundle on this machine and returns masks.

`bundle` and `manifest` describe what was exported, `engines` compile and verify it, `backends` run
it, `segmenter` turns images into masks, `monitoring` and `self_test` check the result. A vehicle
runs this part without torch. The one backend that needs torch is in `export` and is imported on
request. Imports the wings below it, such as `images`.
"""
