"""The benchmark renders real frames; the speed itself is not tested."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from dgss_core.cli import main
from dgss_core.commands import bench_drive
from dgss_core.datasets import rendered
from dgss_core.synthetic import CONDITIONS


def test_the_ways_to_read_the_drive_are_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path))
    options = ('bench', 'drive', '--seeds', '1', '--frames', '2', '--size', '64x36')
    assert main([*options, '--json']) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found['size'], found['frames']) == ('64x36', 2)
    assert [*found['condition_ms']] == [*CONDITIONS]
    rates = found['frames_per_s']
    assert min(rates.values()) > 0
    assert rates['read again in any order'] > rates['rendered in any order']
    ratio = rates['rendered in order'] / rates['rendered in any order']
    assert found['any_order_to_in_order'] == pytest.approx(ratio)
    assert not list(tmp_path.iterdir())
    bench_drive._print(found)
    assert 'any order takes' in capsys.readouterr().out


def test_nothing_is_measured_where_nothing_is_kept(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(path: Path, data: bytes) -> None:
        raise OSError(28, 'No space left on device')

    monkeypatch.setattr(rendered, 'write_whole', full)
    assert main(['bench', 'drive', '--seeds', '1', '--frames', '1', '--size', '64x36']) != 0
    assert 'could not be kept in' in capsys.readouterr().err


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (('--seeds', '0'), 'Give 1 to 48 seeds'),
        (('--seeds', '49'), 'Give 1 to 48 seeds'),
        (('--frames', '0'), 'at least one frame'),
        (('--size', '8x8'), '8x8 is no size'),
    ],
)
def test_a_mistake_is_one_sentence(
    options: tuple[str, ...], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(['bench', 'drive', *options]) != 0
    assert message in capsys.readouterr().err
