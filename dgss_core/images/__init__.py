"""Images: frames of a source, pixel encodings, compression, camera views, and painted masks.

Uses numpy and OpenCV, for rare formats Pillow and for videos PyAV; no ROS messages and no torch.
"""
