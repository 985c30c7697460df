"""Backends: what runs the network of a bundle. One interface, one file per inference library."""

from __future__ import annotations

import re
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from dgss_core.bundle import Bundle
from dgss_core.errors import DgssError

Report = Callable[[str], Any]
"""Takes one line of progress or explanation, as `print` and a logger do."""

BACKENDS = {
    # name: (module that is imported only when the backend is asked for, class)
    'onnxruntime': ('dgss_core.runtimes.onnx_runtime', 'OnnxRuntimeBackend'),
}
NULL = 'null'
"""The backend without a network, for benchmarks: `null`, or `null:MILLISECONDS`."""


class Backend(Protocol):
    """A loaded network.

    `name`: as given to `load_backend`. `identity`: one line for logs and diagnostics, with the
    library, its version, the device and the precision.
    """

    name: str
    identity: str

    def run(self, images: np.ndarray) -> dict[str, np.ndarray]:
        """Segment RGB images, uint8 (N, H, W, 3) at the bundle's network size.

        Returns every output of the network by its tensor name: the mask and the confidence, both
        uint8 (N, H, W), and what else `dgss_core.bundle` names, where the network offers it. May
        be called from several threads at once.
        """
        ...

    def close(self) -> None:
        """Free the network and its memory; the backend cannot be used afterwards."""
        ...


def check_backend(name: str) -> None:
    """Raise DgssError unless `name` is a backend, `auto`, or `null[:MILLISECONDS]`."""
    if name != 'auto' and name not in BACKENDS and not re.fullmatch(NULL + r'(:[0-9]+)?', name):
        raise DgssError(f'There is no backend {name!r}; use auto or one of {", ".join(BACKENDS)}.')


def load_backend(
    bundle: Bundle,
    name: str = 'auto',
    threads: int = 0,
    *,
    cache_dir: Path | None = None,
    allow_unverified: bool = False,
    report: Report | None = None,
) -> Backend:
    """Load the network of `bundle` into the backend `name`; `auto` takes the fastest that works.

    `threads`: CPU threads, 0 for all cores. `cache_dir`: where engines are kept. `report`: takes
    the lines that say which backend was chosen, why, and how far a build has come. Raises
    DgssError for an unknown backend, one that is not installed, or a network it cannot run.
    """
    check_backend(name)
    if name.partition(':')[0] == NULL:
        from dgss_core.runtimes.null import NullBackend

        return NullBackend(bundle, name)
    chosen = next(iter(BACKENDS)) if name == 'auto' else name
    module, backend = BACKENDS[chosen]
    try:
        return getattr(import_module(module), backend)(bundle, threads)
    except ImportError as error:
        raise DgssError(
            f'The backend {chosen} is not installed ({error}); run pip install {chosen}.'
        ) from error
