"""Domain generalized semantic segmentation: the library behind the `dgss_ros` node.

Nothing here imports rclpy, and nothing that runs in a vehicle imports torch.
"""

__version__ = '0.1.0'
