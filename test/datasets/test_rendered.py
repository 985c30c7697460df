"""Rendered frames are kept whole, found by what they depend on, and bounded."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from dgss_core.datasets import rendered
from dgss_core.datasets.rendered import LOCK, Frame, RenderedFrames

SIZE = (40, 32)


def frame_of(value: int) -> Frame:
    return np.full((32, 40, 3), value, np.uint8), np.full((32, 40), value % 19, np.uint8)


class Renderer:
    """Renders the set `about` = its first value, and counts how often."""

    def __init__(self, count: int = 3) -> None:
        self.count, self.calls = count, 0

    def of(self, about: int) -> Callable[[], list[Frame]]:
        def render() -> list[Frame]:
            self.calls += 1
            return [frame_of(about + i) for i in range(self.count)]

        return render


def read(kept: RenderedFrames, renderer: Renderer, about: int, index: int) -> int | None:
    """The value of the frame, whose image and labels are checked."""
    found = kept.frame(about, index, SIZE, renderer.of(about))
    if found is None:
        return None
    image, labels = found
    value = int(image[0, 0, 0])
    for part, expected in zip(found, frame_of(value), strict=True):
        np.testing.assert_array_equal(part, expected)
    assert image.flags.writeable
    assert labels.flags.writeable
    return value


def test_a_set_is_rendered_once_for_all_its_frames_and_for_later_processes(tmp_path: Path) -> None:
    renderer, kept = Renderer(), RenderedFrames(10**9, tmp_path)
    assert [read(kept, renderer, 7, i) for i in (2, 0, 1, 2)] == [9, 7, 8, 9]
    assert read(RenderedFrames(10**9, tmp_path), renderer, 7, 1) == 8
    assert renderer.calls == 1
    assert read(kept, renderer, 20, 0) == 20
    assert renderer.calls == 2
    assert len(kept.sets()) == 2


def test_other_code_or_another_library_finds_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    renderer = Renderer()
    read(RenderedFrames(10**9, tmp_path), renderer, 7, 0)
    known = rendered.RENDERER
    assert known == rendered._renderer()
    for place in range(len(known)):
        monkeypatch.setattr(rendered, 'RENDERER', (*known[:place], 'x', *known[place + 1 :]))
        read(RenderedFrames(10**9, tmp_path), renderer, 7, 0)
    assert renderer.calls == 1 + len(known)


@pytest.mark.parametrize(
    'file', ['datasets/rendered.py', 'datasets/synthetic.py', 'synthetic/texture.py']
)
def test_every_file_that_renders_or_packs_is_in_the_digest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, file: str
) -> None:
    root = Path(rendered.__file__).parents[1]
    for wing in ('datasets', 'synthetic'):
        shutil.copytree(root / wing, tmp_path / wing)
    monkeypatch.setattr(rendered, 'files', lambda name: tmp_path / name.partition('.')[2])
    assert rendered._renderer() == rendered.RENDERER
    with (tmp_path / file).open('a') as source:
        source.write('# Changed.')
    assert rendered._renderer() != rendered.RENDERER


def test_a_cpu_with_fewer_instructions_finds_nothing() -> None:
    code = 'from dgss_core.datasets import rendered; print(rendered.RENDERER)'
    if 'AVX2' not in cv2.getCPUFeaturesLine().replace('AVX2?', ''):
        pytest.skip('OpenCV chooses from no AVX2 on this machine')
    fewer = os.environ | {'OPENCV_CPU_DISABLE': 'AVX2'}
    found = subprocess.check_output([sys.executable, '-c', code], env=fewer)
    assert found.decode().strip() != repr(rendered.RENDERER)


@pytest.mark.parametrize('cut', [0, 1, 30, 400, 0.5, -1])
def test_a_set_cut_short_is_rendered_anew(tmp_path: Path, cut: float) -> None:
    renderer, kept = Renderer(), RenderedFrames(10**9, tmp_path)
    read(kept, renderer, 7, 0)
    (path,) = kept.sets()
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * cut) if isinstance(cut, float) else cut])
    assert read(kept, renderer, 7, 1) == 8
    assert renderer.calls == 2
    assert path.read_bytes() == whole


def test_a_changed_byte_is_found_wherever_it_lies(tmp_path: Path) -> None:
    renderer, kept = Renderer(2), RenderedFrames(10**9, tmp_path)
    read(kept, renderer, 7, 0)
    (path,) = kept.sets()
    whole = path.read_bytes()
    for at in np.random.default_rng(0).integers(0, len(whole), 120):
        changed = bytearray(whole)
        changed[at] ^= 0x55
        path.write_bytes(changed)
        # Rendered anew or, where the byte has no meaning for these frames, read as it was.
        assert [read(kept, renderer, 7, i) for i in (0, 1)] == [7, 8]


def test_frames_of_another_size_are_not_taken(tmp_path: Path) -> None:
    renderer, kept = Renderer(), RenderedFrames(10**9, tmp_path)
    read(kept, renderer, 7, 0)
    kept.frame(7, 0, (SIZE[0] * 2, SIZE[1]), renderer.of(7))
    assert renderer.calls == 2


def test_the_longest_unused_go_when_the_limit_is_reached_and_nothing_else(tmp_path: Path) -> None:
    renderer, kept = Renderer(), RenderedFrames(10**9, tmp_path)
    for about in (10, 20, 30):
        read(kept, renderer, about, 0)
        time.sleep(0.01)
    size = kept.sets()[0].stat().st_size
    others = [tmp_path / name for name in ('notes.zip', 'a' * 64, f'{"b" * 64}.zip.part')]
    for other in others:
        other.write_bytes(bytes(10 * size))
    (tmp_path / f'{"c" * 64}.zip').symlink_to(others[0])
    read(kept, renderer, 10, 1)
    bounded = RenderedFrames(int(3.5 * size), tmp_path)
    read(bounded, renderer, 40, 0)
    assert len(bounded.sets()) == 3
    assert not bounded.stopped
    assert all(other.exists() for other in others)
    assert (tmp_path / f'{"c" * 64}.zip').is_symlink()
    calls = renderer.calls
    assert [read(bounded, renderer, about, 0) for about in (10, 30, 40)] == [10, 30, 40]
    assert renderer.calls == calls
    read(RenderedFrames(int(3.5 * size), tmp_path), renderer, 20, 0)
    assert renderer.calls == calls + 1


def test_a_process_does_not_remove_what_it_has_used(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    renderer = Renderer()
    read(RenderedFrames(10**9, tmp_path), renderer, 10, 0)
    size = RenderedFrames(10**9, tmp_path).sets()[0].stat().st_size
    kept = RenderedFrames(int(2.5 * size), tmp_path)
    # The set of another process goes, those of this one stay.
    assert [read(kept, renderer, about, 0) for about in (20, 30, 40)] == [20, 30, 40]
    assert [read(kept, renderer, about, 1) for about in (10, 20, 30, 40)] == [None, 21, 31, None]
    assert renderer.calls == 4
    assert sum(path.stat().st_size for path in kept.sets()) <= kept.limit
    (line,) = caplog.messages
    assert 'set DGSS_SYNTHETIC_CACHE_GIB to more' in line


def test_a_folder_deleted_in_between_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    folder, renderer = tmp_path / 'cache', Renderer()
    kept = RenderedFrames(10**9, folder)
    opened, deleted = rendered.locked, []

    def delete_first(path: Path, **options: object) -> object:
        if not deleted:
            deleted.append(folder.rmdir())
        return opened(path, **options)

    monkeypatch.setattr(rendered, 'locked', delete_first)

    def render() -> list[Frame]:
        shutil.rmtree(folder)
        return renderer.of(7)()

    assert kept.frame(7, 0, SIZE, render) is not None
    assert read(kept, renderer, 7, 1) == 8
    assert renderer.calls == 1
    assert deleted
    assert not caplog.messages


def test_a_clock_before_1980_is_no_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    packed = rendered._packed([frame_of(3)])
    monkeypatch.setattr(time, 'time', lambda: 0.0)
    assert rendered._packed([frame_of(3)]) == packed
    renderer, kept = Renderer(), RenderedFrames(10**9, tmp_path)
    assert [read(kept, renderer, 7, i) for i in (0, 1)] == [7, 8]
    assert renderer.calls == 1


def test_the_labels_are_read_alone(tmp_path: Path) -> None:
    renderer, kept = Renderer(), RenderedFrames(10**9, tmp_path)
    read(kept, renderer, 7, 0)
    (path,) = kept.sets()
    data = bytearray(path.read_bytes())
    data[data.index(bytes([8]) * 100)] ^= 1  # The image of frame 1.
    path.write_bytes(data)
    found = kept.labels(7, 1, SIZE, renderer.of(7))
    np.testing.assert_array_equal(found, frame_of(8)[1])
    assert renderer.calls == 1
    assert read(kept, renderer, 7, 1) == 8
    assert renderer.calls == 2


@pytest.mark.skipif(os.geteuid() == 0, reason='root may write everywhere')
def test_without_the_right_to_write_nothing_is_kept_nor_rendered_in_sets(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    tmp_path.chmod(0o500)
    renderer, kept = Renderer(), RenderedFrames(10**9, tmp_path / 'below')
    assert [read(kept, renderer, 7, i) for i in (0, 1)] == [None, None]
    assert renderer.calls == 0
    assert ['(Permission denied)' in line for line in caplog.messages] == [True]


@pytest.mark.parametrize('where', ['file', 'null'])
def test_a_folder_that_cannot_be_made_is_no_error(tmp_path: Path, where: str) -> None:
    (tmp_path / 'file').write_text('mine')
    folder = tmp_path / 'file/below' if where == 'file' else Path(os.devnull) / 'below'
    renderer, kept = Renderer(), RenderedFrames(10**9, folder)
    assert read(kept, renderer, 7, 0) is None
    assert renderer.calls == 0
    assert (tmp_path / 'file').read_text() == 'mine'


def test_a_full_disk_costs_one_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full(path: Path, data: bytes) -> None:
        raise OSError(28, 'No space left on device')

    monkeypatch.setattr(rendered, 'write_whole', full)
    renderer, kept = Renderer(), RenderedFrames(10**9, tmp_path)
    assert read(kept, renderer, 7, 1) == 8
    assert read(kept, renderer, 7, 2) is None
    assert renderer.calls == 1
    assert [path.name for path in tmp_path.iterdir()] == [LOCK]
    assert ['No space left on device' in line for line in caplog.messages] == [True]


def test_a_link_in_place_of_the_lock_is_not_followed(tmp_path: Path) -> None:
    target = tmp_path / 'target'
    (tmp_path / 'cache').mkdir()
    (tmp_path / 'cache' / LOCK).symlink_to(target)
    assert read(RenderedFrames(10**9, tmp_path / 'cache'), Renderer(), 7, 0) is None
    assert not target.exists()


def test_a_pipe_in_place_of_the_lock_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / LOCK)
    kept = RenderedFrames(10**9, tmp_path)
    assert read(kept, Renderer(), 7, 0) is None
    assert 'not a regular file' in kept.stopped


WORKER = """
import sys, time
from pathlib import Path
from dgss_core.datasets.rendered import RenderedFrames
import numpy as np

folder, log = map(Path, sys.argv[1:])
kept = RenderedFrames(10**9, folder)
for about in range(4):
    def render():
        with log.open('a') as file:
            file.write(f'{about}\\n')
        time.sleep(0.1)
        return [(np.full((32, 40, 3), about, np.uint8), np.zeros((32, 40), np.uint8))]
    image, labels = kept.frame(about, 0, (40, 32), render)
    assert (image == about).all()
"""


def test_several_processes_render_each_set_once(tmp_path: Path) -> None:
    log = tmp_path / 'log'
    command = [sys.executable, '-c', WORKER, str(tmp_path / 'cache'), str(log)]
    workers = [subprocess.Popen(command) for _ in range(3)]
    assert [worker.wait(120) for worker in workers] == [0, 0, 0]
    assert sorted(log.read_text().split()) == ['0', '1', '2', '3']
