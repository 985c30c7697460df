"""TensorRT-RTX builds every system ahead of time, in every precision of the export."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import pytest

pytest.importorskip('tensorrt_rtx', reason='needs pip install tensorrt-rtx cuda-python')
from exported import HEIGHT, WIDTH, exported
from probe import manifest_of
from small_systems import EXPORTED

from dgss_core.runtime.bundle import Bundle
from dgss_core.runtime.bundle.contents import sha256_of
from dgss_core.runtime.engines.build import build_engine, import_flavour


@cache
def size_of_engine(folder: Path, precision: str) -> int:
    """Bytes of the engine; systems with the same reduced network are built once."""
    network = folder / f'{precision}.onnx'
    manifest = manifest_of(
        folder.name,
        HEIGHT,
        WIDTH,
        sha256=sha256_of(network),
        precision=precision,
        network=network.name,
    )
    return len(build_engine(import_flavour('tensorrt_rtx'), Bundle(folder, manifest), ['8.9']))


@pytest.mark.parametrize('precision', ['fp32', 'fp16', 'int8'])
# Last first: the tests of the export begin with the first, in another process, and neither waits
# for a system that the other exports.
@pytest.mark.parametrize('name', list(reversed(EXPORTED)))
def test_it_builds(name: str, precision: str, export_root: Path) -> None:
    assert size_of_engine(exported(name, export_root), precision) > 10_000
