"""Images: frames of a source, pixel encodings, compression, camera views, and painted masks.

Uses numpy and OpenCV only, no ROS messages and no torch.
"""
