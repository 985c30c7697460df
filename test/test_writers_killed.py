"""kill -9 at random moments of every kind of writer leaves the old or the new result."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from boxes import kill, python
from small_networks import write_classifier

from dgss_core.bags import read_messages
from dgss_core.files import tidy
from dgss_core.runtime.bundle import open_bundle

BUNDLE = """
from dgss_core.runtime.bundle import open_bundle
from dgss_core.runtime.bundle.writing import write_bundle, update_manifest
from dataclasses import replace
given = open_bundle(folder / 'given')
def write(number):
    manifest = replace(given.manifest, metrics={'mIoU': float(number)})
    bundle = write_bundle(folder / 'out', given.onnx_path, manifest, True, given.frames())
    update_manifest(bundle, metrics={'mIoU': number + 0.5})
"""
ENGINE = """
from dgss_core.runtime.engines.cache import EngineCache
from dgss_core.runtime.key import EngineKey
key = EngineKey(*'abcdefghij')
def write(number):
    cache = EngineCache(folder / 'out')
    found = cache.load(key)
    cache.obtain(key, lambda: bytes(100000) + str(number).encode(), print, must_keep=True)
    if found:
        cache.refuse(found[1], key)
"""
BAG = """
import numpy as np
from dgss_core.bags import write_bag
from dgss_core.images.frames import Frame
def write(number):
    image = np.full((90, 160, 3), number % 256, np.uint8)
    frames = [Frame(f'{i}', image, i + 1) for i in range(5)]
    write_bag(folder / 'out', frames, storage=STORAGE, overwrite=True)
"""
JOURNAL = """
from dgss_core.training.generation.journal import Journal
def write(number):
    Journal(folder / 'out', {'seed': 1}).append({'number': number, 'text': 'x' * 20000})
"""
LOOP = """
import sys
from collections.abc import Iterator
from pathlib import Path
folder = Path(sys.argv[1])
{}
for number in range(10**6):
    write(number)
    print(number, flush=True)
"""


def killed(folder: Path, code: str, kills: int = 4) -> Iterator[None]:
    """Run a writer and kill it; every time at another moment."""
    for number in range(kills):
        process = python(LOOP.format(code), folder)
        # Other lines are of the library.
        assert process.stdout.readline()
        time.sleep(0.007 * number)
        kill(process)
        tidy(folder)
        yield


def names(folder: Path) -> list[str]:
    return sorted(os.listdir(folder))


def test_a_bundle(tmp_path: Path) -> None:
    write_classifier(tmp_path / 'given')
    for _ in killed(tmp_path, BUNDLE):
        bundle = open_bundle(tmp_path / 'out')  # checks every file
        assert len(bundle.frames()) == len(open_bundle(tmp_path / 'given').frames())
    assert names(tmp_path) == ['given', 'given.onnx', 'out']


def test_an_engine(tmp_path: Path) -> None:
    from dgss_core.runtime.engines.cache import EngineCache

    for _ in killed(tmp_path, ENGINE):
        entries = EngineCache(tmp_path / 'out').entries()
        assert all(entry.read() is not None for entry in entries)
    EngineCache(tmp_path / 'out').prune(30, print)
    assert {name[0] for name in names(tmp_path / 'out')} <= {'.', 'a'}
    assert not list((tmp_path / 'out').glob('.dgss*'))


@pytest.mark.parametrize('storage', ['mcap', 'sqlite3'])
def test_a_bag(tmp_path: Path, storage: str) -> None:
    for _ in killed(tmp_path, f'STORAGE = {storage!r}\n{BAG}'):
        images = [m.data for m in read_messages(tmp_path / 'out', {'/camera/image_raw'})]
        assert len(images) == 5
        assert len({image[-100:] for image in images}) == 1
    assert names(tmp_path) == ['out']


def test_a_journal(tmp_path: Path) -> None:
    from dgss_core.training.generation.journal import Journal

    for _ in killed(tmp_path, JOURNAL):
        entries = Journal(tmp_path / 'out', {'seed': 1}).entries
        assert all(len(entry['text']) == 20000 for entry in entries)
        lines = (tmp_path / 'out').read_text().splitlines()
        assert [json.loads(line) for line in lines] == entries
    assert names(tmp_path) == ['out']


def test_a_checkpoint(tmp_path: Path) -> None:
    from safetensors.numpy import load_file

    code = """
import torch
from dgss_core.networks.checkpoint import write_tensors
def write(number):
    write_tensors({'a': torch.full((100000,), float(number))}, folder / 'out', {})
"""
    for _ in killed(tmp_path, code, kills=2):  # it imports torch every time
        values = load_file(tmp_path / 'out')['a']
        assert (values == values[0]).all()
    assert names(tmp_path) == ['out']
