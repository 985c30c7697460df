"""Images: frames of a source, pixel encodings, compression, camera views, and painted masks.

Pixels only: numpy and OpenCV, no ROS messages and no torch. Imports the ground only.
"""
