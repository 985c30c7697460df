"""Memory of a bundle in a backend, measured in a separate process."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np

from dgss_core.errors import DgssError
from dgss_core.runtime.backend import run_network
from dgss_core.runtime.backends import load_backend
from dgss_core.runtime.bundle import open_bundle
from dgss_core.runtime.roofline.child import last_line, run_module


def measure(
    bundle: Path, backend: str, batch: int, threads: int, cache_dir: Path | None = None
) -> dict[str, float]:
    """Measure the peak MiB of loading the network and one call, on the host and on the GPU.

    `bundle`: its folder. `cache_dir`: of the engines. Raises DgssError with the last line
    of stderr if the process fails.
    """
    folders = (str(bundle), str(cache_dir or ''))
    result = run_module(__name__, *folders, backend, str(batch), str(threads))
    if result.returncode != 0:
        raise DgssError(f'The memory of {backend} could not be measured: {last_line(result)}')
    return json.loads(result.stdout)


def _highest(since_now: bool = False) -> float:
    """Peak MiB of this process since the last call with `since_now`."""
    if since_now:
        Path('/proc/self/clear_refs').write_text('5')
    status = Path('/proc/self/status').read_text()
    return float(status.split('VmHWM:')[1].split()[0]) / 1024


def _on_gpu() -> float:
    """MiB of GPU memory in use by all processes together; 0 without a GPU."""
    try:
        from dgss_core.runtime.backends import cuda

        return cuda.used_memory() / 2**20
    except DgssError:
        return 0


def _main(folder: str, cache: str, backend: str, batch: str, threads: str) -> None:
    bundle = open_bundle(folder)
    images = np.zeros((int(batch), bundle.height, bundle.width, 3), np.uint8)
    host, gpu = _highest(since_now=True), _on_gpu()
    cache_dir = Path(cache) if cache else None
    loaded = load_backend(
        bundle, backend, int(threads), cache_dir=cache_dir, allow_unverified=True
    )
    run_network(loaded, images)
    print(json.dumps({'host': _highest() - host, 'gpu': _on_gpu() - gpu}))


if __name__ == '__main__':
    _main(*sys.argv[1:])
