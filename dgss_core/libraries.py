"""What to install where a library is missing."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from dgss_core.errors import DgssError

BY_PIP = {
    'mcap': 'mcap',
    'onnxruntime': 'onnxruntime',
    'rosbags': 'rosbags',
    'jsonargparse': 'jsonargparse[signatures]',
    'docstring_parser': 'jsonargparse[signatures]',
}
"""Libraries that only pip installs, and what it calls them."""


@contextmanager
def libraries_for(purpose: str) -> Iterator[None]:
    """Raise DgssError, with the remedy, if a library is missing where something imports it."""
    try:
        yield
    except ModuleNotFoundError as error:
        missing = error.name or ''
        if missing.split('.')[0] in ('', 'dgss_core', 'dgss_ros'):
            raise
        raise DgssError(f'{purpose} needs {missing}; {_remedy(missing)}.') from error


def _remedy(module: str) -> str:
    package = module.split('.')[0]
    if package in BY_PIP:
        return f'run pip install {BY_PIP[package]}'
    if package in ('rclpy', 'rcl_interfaces', 'sensor_msgs', 'lifecycle_msgs'):
        return 'source a ROS 2 installation, or on Linux x86-64 run pip install dgss_ros[ros]'
    return 'run pip install dgss_ros[train]'
