"""Backends: what runs the network of a bundle. One interface, one file per inference library."""

from __future__ import annotations

from typing import Protocol

import numpy as np

from dgss_core.bundle import Bundle
from dgss_core.errors import DgssError


class Backend(Protocol):
    """A loaded network."""

    name: str

    def run(self, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Segment RGB images, uint8 (N, H, W, 3) at the bundle's network size.

        Returns masks and confidences, both uint8 (N, H, W); confidence 255 is certain.
        """
        ...


def _onnxruntime(bundle: Bundle, threads: int) -> Backend:
    from dgss_core.runtimes.onnx_runtime import OnnxRuntimeBackend

    return OnnxRuntimeBackend(bundle, threads)


BACKENDS = {'onnxruntime': _onnxruntime}


def load_backend(bundle: Bundle, name: str = 'auto', threads: int = 0) -> Backend:
    """Load the network of `bundle` into the backend `name`; `auto` takes the fastest installed.

    `threads`: CPU threads, 0 for all cores. Raises DgssError for an unknown backend, one that is
    not installed, or a network it cannot run.
    """
    if name != 'auto' and name not in BACKENDS:
        raise DgssError(f'There is no backend {name!r}; use auto or one of {", ".join(BACKENDS)}.')
    chosen = next(iter(BACKENDS)) if name == 'auto' else name
    try:
        return BACKENDS[chosen](bundle, threads)
    except ImportError as error:
        raise DgssError(
            f'The backend {chosen} is not installed ({error}); run pip install {chosen}.'
        ) from error
