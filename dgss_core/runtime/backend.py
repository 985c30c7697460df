"""The interface of a backend: a network of a bundle, loaded and ready to run."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np

from dgss_core.errors import DgssError, one_line
from dgss_core.runtime.bundle import CONFIDENCE, INPUT, MASK, UNCERTAINTY, Bundle
from dgss_core.runtime.key import EngineKey

Report = Callable[[str], Any]
"""Takes one line of progress or explanation, as `print` and a logger do."""


def silent(line: str) -> None:
    """A `Report` that discards every line."""


@dataclass(frozen=True)
class BackendOptions:
    """What the `open_backend` function of a backend's module gets besides the bundle.

    `name`: as the user gave it, such as `null:20`. `precision`: used at run time, one of
    `dgss_core.runtime.manifest.PRECISIONS`. `threads`: CPU threads, 0 for all cores.
    `cache_dir`: for files that the backend keeps between runs. `report`: takes progress.
    `lanes`: calls that run at the same time; the backend takes memory for them when it loads.
    """

    name: str
    precision: str
    threads: int
    cache_dir: Path
    report: Report
    lanes: int = 1


class Backend(Protocol):
    """A loaded network.

    `name`: as given to `load_backend`. `identity`: one line for logs and diagnostics, with the
    library, its version, the device and the precision. `key`: everything the answers depend on;
    their proof is stored under it. None for a reference, which needs no proof. `sha256`: of the
    engine.
    """

    name: str
    identity: str
    sha256: str

    @property
    def key(self) -> EngineKey | None: ...

    def run(self, images: np.ndarray) -> dict[str, np.ndarray]:
        """Segment RGB images, uint8 (N, H, W, 3) at the bundle's network size.

        Returns every output of the network by its tensor name: the mask and the confidence, both
        uint8 (N, H, W), and the optional outputs listed in `dgss_core.runtime.bundle` that the
        network has. Several threads may call it at once. Raises RuntimeError after `close`.
        """
        ...

    def close(self) -> None:
        """Free the network and its memory. Closing twice does nothing."""
        ...


@runtime_checkable
class TimedBackend(Protocol):
    """A backend that can also time its stages on the GPU."""

    def stages(self, images: np.ndarray) -> dict[str, float]:
        """Seconds of each stage on the GPU for uint8 (N, H, W, 3) images, by its name."""
        ...


@runtime_checkable
class PlacedBackend(Protocol):
    """A backend that says what it computes on, so that its speed is compared with that device.

    `device`: 'CPU' or 'GPU'. `precision`: at run time, one of
    `dgss_core.runtime.manifest.PRECISIONS`.
    """

    device: str
    precision: str


@runtime_checkable
class CountedBackend(Protocol):
    """A backend that counts the kernels that it launches on its device."""

    def launches(self, images: np.ndarray) -> int:
        """The kernels in one call for uint8 (N, H, W, 3) images."""
        ...


@runtime_checkable
class NamingBackend(Protocol):
    """A backend that says which network it runs: the bundle's, another one inside it, or none.

    `network`: the identity of a bundle, or a text that names what answers instead.
    """

    network: str


def check_tensors(
    bundle: Bundle,
    inputs: Collection[str],
    tensors: Mapping[str, tuple[str, tuple[object, ...]]],
) -> None:
    """Raise DgssError if a tensor of a loaded network is not that of a bundle.

    `inputs`: names. `tensors`: by name the numpy type and the shape without the batch.
    """
    size = (bundle.height, bundle.width)
    expected = {INPUT: (*size, 3), MASK: size, CONFIDENCE: size}
    if UNCERTAINTY in tensors:
        expected[UNCERTAINTY] = size
    right = {name: ('uint8', shape) for name, shape in expected.items()}
    if [*inputs] != [INPUT] or not right.items() <= tensors.items():
        found = ', '.join(f'{name!r}: {kind} {shape}' for name, (kind, shape) in tensors.items())
        raise DgssError(
            f'{bundle.onnx_path} has the tensors {found[:1000]}, and a bundle of {bundle.width}x'
            f'{bundle.height} needs uint8 {expected} after the batch; export it again.'
        )


def first_line(error: BaseException, replaced: Path | None = None, by: Path | None = None) -> str:
    """One line that says what a library complains of.

    `replaced`, `by`: a path in the text, and the one to name in its place.
    """
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    text = lines[0] if lines else type(error).__name__
    return text.replace(str(replaced), str(by))[:500] if replaced else text[:500]


class ClosedError(RuntimeError):
    """A call after `close`: a mistake of the program, not of the network."""


def closed_error(name: str) -> ClosedError:
    """The error for a call of the backend or segmenter `name` after `close`."""
    return ClosedError(f'{name} was closed and cannot run; load the bundle again.')


def unexpected(error: BaseException) -> str:
    """One line about an exception of a library, with its type."""
    return one_line(f'{type(error).__name__}: {error}').rstrip('.: ')


def unusable_library(title: str, packages: str, error: ImportError) -> DgssError:
    """The error for a library that cannot be imported. `packages`: what pip installs it with."""
    if isinstance(error, ModuleNotFoundError):
        return DgssError(f'{title} is not installed ({error}); run pip install {packages}.')
    return DgssError(
        f'{title} is installed and cannot be loaded ({one_line(error)}); give the process more '
        'memory, or install it again.'
    )


def run_network(backend: Backend, images: np.ndarray) -> dict[str, np.ndarray]:
    """`backend.run`, with a DgssError for whatever a library raises in it, also in a plugin.

    Raises ClosedError after `close`.
    """
    try:
        return backend.run(images)
    except (DgssError, ClosedError):
        raise
    except Exception as error:  # The libraries share no base of their exceptions.
        network = backend.network if isinstance(backend, NamingBackend) else 'The network'
        raise DgssError(
            f'{network} failed while it ran in {backend.identity} ({unexpected(error)}); try '
            'another backend, or export the bundle again.'
        ) from error
