"""Domain generalized semantic segmentation: the library behind the `dgss_ros` node.

    import dgss_core as dgss

    with dgss.Segmenter(dgss.open_bundle()) as segmenter:
        for frame in dgss.frames('drive.mp4'):
            mask = segmenter(frame.image).mask

The names in `__all__` are the public interface: what a script or a notebook needs, and the types
that a plugin implements. Each is imported when it is first used, so `import dgss_core` is fast
and loads no torch. Everything else is private and may move.

The library never imports ROS. What runs in a vehicle never imports torch.
"""

from __future__ import annotations

import os
import sys
from importlib import import_module
from typing import Any

# Libraries that report to their vendors, or leave an identity in the home folder, read these when
# they are imported. This file is executed before any of them.
os.environ['ORT_DISABLE_TELEMETRY'] = os.environ['HF_HUB_DISABLE_TELEMETRY'] = '1'
os.environ['RAY_USAGE_STATS_ENABLED'] = '0'
os.environ['FIFTYONE_DO_NOT_TRACK'] = 'true'
sys.modules.setdefault('openvino_telemetry', None)  # type: ignore[arg-type]

__version__ = '0.1.0'

__all__ = [
    'Backend',
    'BackendOptions',
    'Bundle',
    'ConfusionMatrix',
    'Dataset',
    'DgssError',
    'Encoder',
    'LabelSet',
    'Sample',
    'Segmenter',
    'build_dataset',
    'build_system',
    'evaluate',
    'frames',
    'load_checkpoint',
    'open_bundle',
    'read_bag',
]

# __init__.pyi says the same to type checkers.
_HOMES = {
    'dgss_core.bags.reader': ('read_bag',),
    'dgss_core.confusion': ('ConfusionMatrix',),
    'dgss_core.datasets': ('Dataset', 'Sample', 'build_dataset'),
    'dgss_core.errors': ('DgssError',),
    'dgss_core.evaluation.evaluate': ('evaluate',),
    'dgss_core.inputs': ('frames',),
    'dgss_core.labels': ('LabelSet',),
    'dgss_core.networks.checkpoint': ('load_checkpoint',),
    'dgss_core.networks.encoders': ('Encoder',),
    'dgss_core.networks.systems': ('build_system',),
    'dgss_core.runtime.backend': ('Backend', 'BackendOptions'),
    'dgss_core.runtime.bundle': ('Bundle', 'open_bundle'),
    'dgss_core.runtime.segmenter': ('Segmenter',),
}


def __getattr__(name: str) -> Any:
    home = next((module for module, names in _HOMES.items() if name in names), None)
    if home is None:
        raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
    value = getattr(import_module(home), 'read_frames' if name == 'frames' else name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return [*__all__, '__version__']
