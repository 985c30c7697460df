"""The ROS 2 side of domain generalized semantic segmentation: glue around `dgss_core`.

Needs rclpy; never imports torch.
"""
