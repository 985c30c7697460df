"""Compiled networks: where their kernels are kept, and what stays as it was."""

from __future__ import annotations

import os
import stat
from contextlib import ExitStack
from pathlib import Path

import pytest
import torch
from torch import nn
from torch._dynamo.utils import counters

from dgss_core.errors import DgssError
from dgss_core.export import compiling
from dgss_core.export.compiling import CACHES, LOCK, WHOLE, _kernels_in, _usable, compile_network
from dgss_core.files.lock import locked


def test_without_a_compiler_there_is_one_sentence(tmp_path: Path) -> None:
    network = nn.Sequential(nn.Linear(4, 5), nn.Sigmoid())
    absent = {'cpp.cxx': (None, str(tmp_path / 'g++'))}
    with (
        torch.inference_mode(),
        torch._inductor.config.patch(absent),
        pytest.raises(DgssError, match=r'finds no C\+\+ compiler to compile') as error,
    ):
        compile_network(network, torch.rand(1, 4), tmp_path / 'kernels', print)
    assert str(error.value).count('. ') == 0


def test_kernels_are_kept_and_taken_again(tmp_path: Path) -> None:
    """A real compilation of two layers, then a second start, then one without a usable folder."""
    network, folder, lines = nn.Sequential(nn.Linear(4, 5), nn.Tanh()), tmp_path / 'kernels', []
    with torch.inference_mode():
        x = torch.rand(1, 4)
        for start in range(2):
            hits = counters['aot_autograd']['autograd_cache_hit']
            torch._dynamo.reset()  # as in a new process
            found = compile_network(network, x, folder, lines.append)
            assert torch.allclose(found(x), network(x), atol=1e-6)
            assert counters['aot_autograd']['autograd_cache_hit'] - hits == start
        assert lines == []
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        assert [*folder.rglob('*.so')]
        assert (folder / WHOLE).exists()
        torch._dynamo.reset()
        others = tmp_path / 'others'
        others.mkdir()
        others.chmod(0o777)
        found = compile_network(network, x, others, lines.append)
        assert torch.allclose(found(x), network(x), atol=1e-6)
    assert [*others.iterdir()] == []
    (line,) = lines
    assert 'cannot be kept in' in line
    assert 'other users may write to it' in line


def test_kernels_of_a_compilation_that_was_killed_are_removed(tmp_path: Path) -> None:
    """The compiler writes in place: a kill leaves a torn library with its final name."""
    folder, outside = tmp_path / 'kernels', tmp_path / 'outside'
    outside.mkdir()
    (outside / 'mine').touch()
    for is_whole in (False, True):
        (folder / 'ab').mkdir(parents=True, mode=0o700)
        folder.chmod(0o700)
        (folder / 'ab' / 'abc.so').touch()
        (folder / 'torn').touch()
        (folder / 'link').symlink_to(outside)
        if is_whole:
            (folder / WHOLE).touch()
        with ExitStack() as stack:
            assert _usable(folder, stack, print) == folder
            assert {path.name for path in folder.iterdir()} == (
                {'ab', 'torn', 'link', LOCK, WHOLE} if is_whole else {LOCK}
            )
    assert (outside / 'mine').exists()


def test_one_process_compiles_while_another_waits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, lines = tmp_path / 'kernels', []
    folder.mkdir(mode=0o700)
    (folder / 'half of a kernel').touch()
    monkeypatch.setattr(compiling, 'LOCK_WAIT_S', 0.1)
    with locked(folder / LOCK, longest_s=1), ExitStack() as stack:
        assert _usable(folder, stack, lines.append) != folder
    assert (folder / 'half of a kernel').exists()
    waits, why = lines
    assert 'Another process compiles this network' in waits
    assert 'another process holds its lock' in why


@pytest.mark.parametrize(
    ('place', 'mode', 'reason'),
    [
        ('a/b', 0o700, ''),
        ('a', 0o1777, ''),
        ('a/b', 0o770, 'other users may write to it: chmod go-w'),
        ('a/b', 0o1777, 'other users may write to it: chmod go-w'),
        ('a', 0o770, '/a: chmod go-w'),
        ('', 0o707, 'other users may write to'),
    ],
)
def test_kernels_are_kept_only_where_no_other_user_may_write(
    tmp_path: Path, place: str, mode: int, reason: str
) -> None:
    folder, lines = tmp_path / 'a' / 'b', []
    folder.mkdir(parents=True)
    (tmp_path / place).chmod(mode)
    with ExitStack() as stack:
        used = _usable(folder, stack, lines.append)
        assert (used == folder) == (not reason)
        assert not used.stat().st_mode & (stat.S_IWGRP | stat.S_IWOTH)
    assert len(lines) == bool(reason)
    assert not reason or reason in lines[0]


@pytest.mark.skipif(os.getuid() != 0, reason='needs root, to give a folder away')
@pytest.mark.parametrize('place', ['a', 'a/b'])
def test_kernels_are_not_kept_in_a_folder_of_another_user(tmp_path: Path, place: str) -> None:
    folder, lines = tmp_path / 'a' / 'b', []
    folder.mkdir(parents=True)
    os.chown(tmp_path / place, 12345, -1)
    with ExitStack() as stack:
        assert _usable(folder, stack, lines.append) != folder
    assert 'belong' in lines[0]


def test_a_link_to_kernels_is_not_followed(tmp_path: Path) -> None:
    lines = []
    (tmp_path / 'real').mkdir(mode=0o700)
    (tmp_path / 'link').symlink_to('real')
    with ExitStack() as stack:
        assert _usable(tmp_path / 'link', stack, lines.append) != tmp_path / 'link'
        # Above, a link is resolved, so that nobody can point it elsewhere afterwards.
        found = _usable(tmp_path / 'link' / 'kernels', stack, lines.append)
        assert found == tmp_path / 'real' / 'kernels'
    (line,) = lines
    assert 'it is no folder' in line


@pytest.mark.parametrize('before', [None, '/somewhere'])
def test_the_caches_of_the_process_stay_as_they_were(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, before: str | None
) -> None:
    for name in CACHES:
        monkeypatch.setenv(name, '/somewhere')
        if before is None:
            monkeypatch.delenv(name)
    with _kernels_in(tmp_path):
        assert os.environ['TORCHINDUCTOR_CACHE_DIR'] == str(tmp_path)
        assert os.environ['TRITON_CACHE_DIR'] == str(tmp_path / 'triton')
    assert [os.environ.get(name) for name in CACHES] == [before] * 2


def test_a_network_is_compiled_for_more_shapes_than_the_limit_of_pytorch(tmp_path: Path) -> None:
    """With a limit of one, the second would run as it is."""
    network = nn.Tanh()
    with torch.inference_mode(), torch._dynamo.config.patch(cache_size_limit=1):
        torch._dynamo.reset()
        before = counters['stats']['unique_graphs']
        for size in (4, 5):
            compile_network(network, torch.rand(1, size), tmp_path / 'kernels', print)
        assert counters['stats']['unique_graphs'] == before + 2
        assert torch._dynamo.config.cache_size_limit == 1
