"""The interface of a backend: a network of a bundle, loaded and ready to run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from dgss_core.runtime.key import EngineKey

Report = Callable[[str], Any]
"""Takes one line of progress or explanation, as `print` and a logger do."""


@dataclass(frozen=True)
class BackendOptions:
    """What `open_backend` of a backend's module gets beside the bundle.

    `name`: as the user gave it, such as `null:20`. `precision`: to compute in, one of
    `dgss_core.runtime.manifest.PRECISIONS`. `threads`: CPU threads, 0 for all cores.
    `cache_dir`: for what the backend keeps between runs. `report`: takes progress.
    """

    name: str
    precision: str
    threads: int
    cache_dir: Path
    report: Report


class Backend(Protocol):
    """A loaded network.

    `name`: as given to `load_backend`. `identity`: one line for logs and diagnostics, with the
    library, its version, the device and the precision. `key`: what its answers depend on, under
    which their proof is kept; None for a reference, which needs none. `sha256`: of the engine.
    """

    name: str
    identity: str
    sha256: str

    @property
    def key(self) -> EngineKey | None: ...

    def run(self, images: np.ndarray) -> dict[str, np.ndarray]:
        """Segment RGB images, uint8 (N, H, W, 3) at the bundle's network size.

        Returns every output of the network by its tensor name: the mask and the confidence, both
        uint8 (N, H, W), and the other outputs in `dgss_core.runtime.bundle` that the network
        has. May be called from several threads at once.
        """
        ...

    def close(self) -> None:
        """Free the network and its memory; the backend cannot be used afterwards."""
        ...
