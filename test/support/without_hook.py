"""The node under an rclpy that has no `_LifecycleNodeMixin__change_state`, as a later one may."""

from __future__ import annotations

import sys
from types import FunctionType

from rclpy.lifecycle.node import LifecycleNodeMixin

HOOK, OTHER = '_LifecycleNodeMixin__change_state', '_LifecycleNodeMixin__transition'

if __name__ == '__main__':
    setattr(LifecycleNodeMixin, OTHER, getattr(LifecycleNodeMixin, HOOK))
    delattr(LifecycleNodeMixin, HOOK)
    for function in vars(LifecycleNodeMixin).values():
        if isinstance(function, FunctionType):
            names = (OTHER if name == HOOK else name for name in function.__code__.co_names)
            function.__code__ = function.__code__.replace(co_names=tuple(names))
    from dgss_ros.segment_node import main

    sys.exit(main())
