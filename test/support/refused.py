"""Commands that train, refused in one sentence."""

from __future__ import annotations

from importlib.util import find_spec

import pytest

from dgss_core.cli import main

RECIPE = {'system': 'dgss-mobilenetv2', 'sources': [{'dataset': 'synthetic'}]}
TRAIN = ['train', '--output', 'run', '--config', 'recipe.yaml']
BENCH = ['bench', 'train', '--config', 'recipe.yaml']
TRAINS = pytest.mark.skipif(find_spec('torch') is None, reason='needs torch: trains')


def refused(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """The sentence of a command that has to exit with 2."""
    assert main(arguments) == 2
    error = capsys.readouterr().err.strip()
    assert error.startswith('dgss: error: ')
    assert '\n' not in error
    return error
