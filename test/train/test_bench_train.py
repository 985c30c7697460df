from __future__ import annotations

import re
from pathlib import Path

import pytest
from tiny_training import recipe, write_frames, write_recipe

from dgss_core.cli import main


def test_the_cost_of_a_recipe_is_printed(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    write_frames(tmp_path)
    path = write_recipe(tmp_path / 'recipe.yaml', recipe(tmp_path, 'rein'))
    command = [
        'bench', 'train', '--config', path, '--data', tmp_path, '--steps', '2', '--warmup', '1',
        '--hardware.accelerator', 'cpu', '--hardware.workers', '1',
    ]  # fmt: skip
    assert main(list(map(str, command))) == 0
    out = capsys.readouterr().out

    def value(name: str) -> float:
        found = re.search(rf'{name} *│ *([\d.]+)', out)
        assert found, out
        return float(found[1])

    assert value('images per second') > 0
    assert 0 <= value('waiting for data') < 100
    assert value('peak memory') > value('kept for the backward pass') > 0
    assert value('the same with nothing frozen') > value('kept for the backward pass')
