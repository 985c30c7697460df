"""A count that makes no sense is refused in one sentence, before anything is read."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from dgss_core.cli import main

TORCH = pytest.mark.skipif(importlib.util.find_spec('torch') is None, reason='needs torch')


@pytest.mark.parametrize(
    ('verb', 'option', 'value', 'wanted'),
    [
        ('segment nowhere --output out', '--threads', '-1', 'at least 0'),
        ('bench model', '--threads', '-1', 'at least 0'),
        ('bench model', '--seconds', 'nan', 'more than 0'),
        ('bench offline', '--threads', '-1', 'at least 0'),
        ('data check camvid nowhere', '--threads', '-1', 'at least 0'),
        ('bag write synthetic --output out', '--frames', '0', 'at least 1'),
        ('engine prune', '--days', '-1.0', 'at least 0'),
        pytest.param('bench modules', '--threads', '-1', 'at least 0', marks=TORCH),
        pytest.param('bench heads', '--threads', '-1', 'at least 0', marks=TORCH),
        pytest.param('generate prompts --output out', '--count', '0', 'at least 1', marks=TORCH),
    ],
)
def test_a_count_out_of_range_is_refused(
    verb: str,
    option: str,
    value: str,
    wanted: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main([*verb.split(), option, value]) == 2
    assert capsys.readouterr().err == f'dgss: error: {option} is {value}; give {wanted}.\n'
    assert not [*tmp_path.iterdir()]


def test_an_empty_cache_of_engines_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(['engine', 'list', '--cache-dir', str(tmp_path / 'nope')]) == 0
    assert capsys.readouterr().out == f'There are no engines in {tmp_path / "nope"}.\n'
