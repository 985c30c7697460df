"""The ROS 2 node and tools for domain generalized semantic segmentation, around `dgss_core`.

Needs rclpy; never imports torch.
"""
