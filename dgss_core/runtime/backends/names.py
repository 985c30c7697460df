"""The names of backends, as `--backend` and the node's parameter take them."""

from __future__ import annotations

import re
from typing import NamedTuple

from dgss_core import plugins
from dgss_core.errors import DgssError, unknown

BACKENDS = ('onnxruntime', 'openvino', 'tensorrt', 'tensorrt_rtx')
PREFERRED = ('tensorrt', 'tensorrt_rtx', 'openvino', 'onnxruntime')
"""What `auto` tries: the fastest first, and last the one that runs everywhere."""

SPECIAL = re.compile(r'null(:\d+)?|torch:.+')
"""For benchmarks and comparisons: a constant answer after some milliseconds (`null:20`), and
PyTorch with a checkpoint (`torch:PATH`, `torch:PATH?compile+fp16`)."""

COMPILE, NARROW = 'compile', ('fp16', 'bf16')
"""What may follow the `?` in the name of PyTorch, joined by `+`."""


class TorchName(NamedTuple):
    """The parts of `torch:PATH?OPTIONS`. `precision`: 'fp32' unless the options name another."""

    path: str
    is_compiled: bool
    precision: str


def parse_torch(name: str) -> TorchName:
    """The parts of the name of PyTorch. Raises DgssError for options that do not exist.

    The options begin at the last `?`, so that a path with one of its own ends with another.
    """
    text = name.removeprefix('torch:')
    path, mark, options = text.rpartition('?') if '?' in text else (text, '', '')
    if not path:
        raise DgssError(
            f'{name} names no checkpoint; give its path before the options, as in '
            f'torch:model.safetensors{mark}{options or COMPILE}.'
        )
    chosen = set(options.split('+')) if options else set()
    known = (COMPILE, *NARROW)
    for option in sorted(chosen.difference(known)):
        raise unknown('option', option, known, owner='The backend torch')
    precisions = [precision for precision in NARROW if precision in chosen]
    if len(precisions) > 1:
        raise DgssError(f'{name} asks for two precisions; give either {" or ".join(NARROW)}.')
    return TorchName(path, COMPILE in chosen, precisions[0] if precisions else 'fp32')


def runs_a_bundle(name: str) -> bool:
    """Whether the backend `name` runs the network of a bundle, and nothing else.

    Not `null` and `torch:PATH`, and no plugin with an argument, which could name a network.
    """
    return ':' not in name and not SPECIAL.fullmatch(name)


def check_backend(name: str) -> None:
    """Raise DgssError for an unknown name of a backend, and for unknown options of it."""
    names = ('auto', *BACKENDS)
    if name not in names and not SPECIAL.fullmatch(name):
        # Last, because it reads the metadata of every installed package.
        added = plugins.plugins(plugins.BACKENDS)
        if name.partition(':')[0] not in added:
            raise unknown('backend', name, (*names, *added))
    if name.startswith('torch:'):
        parse_torch(name)
