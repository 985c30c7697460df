"""The scripts in examples/ run as their first lines say."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import cv2
import numpy as np
import pytest

from dgss_core.cli import main

EXAMPLES = Path(__file__).parents[1] / 'examples'
needs_av, needs_torch = (
    pytest.mark.skipif(find_spec(name) is None, reason=f'needs {name}, which make test installs')
    for name in ('av', 'torch')
)


def run(*command: object, **environment: str) -> str:
    """What a command prints; it must succeed."""
    result = subprocess.run(
        list(map(str, command)),
        env=os.environ | environment,
        cwd=EXAMPLES.parent,
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stderr
    return result.stdout


def test_examples_are_short() -> None:
    scripts = list(EXAMPLES.rglob('*.py'))
    assert len(scripts) == 5
    for script in scripts:
        assert 20 <= len(script.read_text().splitlines()) <= 60, script


@needs_av
def test_a_video_is_segmented(tmp_path: Path) -> None:
    writer = cv2.VideoWriter(
        str(tmp_path / 'drive.avi'), cv2.VideoWriter.fourcc(*'MJPG'), 10, (160, 96)
    )
    for value in (40, 200):
        writer.write(np.full((96, 160, 3), value, np.uint8))
    writer.release()
    run(sys.executable, 'examples/segment_video.py', tmp_path / 'drive.avi', tmp_path / 'masks')
    masks = [cv2.imread(str(path), -1) for path in sorted((tmp_path / 'masks').iterdir())]
    assert [mask.shape for mask in masks] == [(96, 160)] * 2


def test_a_bag_is_scored_per_condition(tmp_path: Path) -> None:
    drive = tmp_path / 'drive'
    main(['bag', 'write', 'synthetic', '--output', str(drive), '--conditions', 'day,night',
          '--frames', '2'])  # fmt: skip
    out = run(sys.executable, 'examples/score_bag.py', drive)
    lines = [line.split() for line in out.splitlines()]
    assert [words[0] for words in lines] == ['day', 'night']
    assert all(0 < float(words[-1].removesuffix('%')) <= 100 for words in lines)


def test_a_mistake_ends_in_one_sentence(tmp_path: Path) -> None:
    for script in ('segment_video.py', 'score_bag.py'):
        result = subprocess.run(
            [sys.executable, EXAMPLES / script, tmp_path / 'nowhere', tmp_path / f'out-{script}'],
            capture_output=True,
            text=True,
        )
        assert result.returncode == 1
        assert result.stderr.startswith('error: There is no')
        assert len(result.stderr.splitlines()) == 1
        for arguments in ([], ['a', 'b', 'c']):
            result = subprocess.run(
                [sys.executable, EXAMPLES / script, *arguments], capture_output=True, text=True
            )
            assert result.returncode == 1
            assert result.stderr.startswith(f'usage: python examples/{script} ')
            assert len(result.stderr.splitlines()) == 1


@pytest.fixture(scope='module')
def plugin(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The example package, installed by pip into a folder; its place for PYTHONPATH."""
    if not (find_spec('wheel') or find_spec('setuptools.command.bdist_wheel')):
        pytest.skip('this setuptools needs the package wheel to install the example')
    folder = tmp_path_factory.mktemp('plugin')
    pip = (sys.executable, '-m', 'pip', 'install', '--quiet', '--no-deps', '--no-index')
    source = folder / 'source'
    source.mkdir()
    for path in (EXAMPLES / 'plugin').iterdir():
        if path.is_file():
            (source / path.name).write_bytes(path.read_bytes())
    run(*pip, '--no-build-isolation', '--target', folder / 'site', source)
    return os.pathsep.join([str(folder / 'site'), os.environ.get('PYTHONPATH', '')])


def test_a_foreign_backend_runs_in_every_verb(plugin: str, tmp_path: Path) -> None:
    image = np.zeros((48, 64, 3), np.uint8)
    image[:, 32:] = 200
    cv2.imwrite(str(tmp_path / 'half.png'), image)
    run(sys.executable, '-m', 'dgss_core', 'segment', tmp_path / 'half.png', '--output',
        tmp_path / 'out', '--backend', 'darkness:100', PYTHONPATH=plugin)  # fmt: skip
    mask = cv2.imread(str(tmp_path / 'out/masks/half.png'), -1)
    assert (mask == (image[..., 0] > 100)).all()


@needs_torch
def test_a_foreign_encoder_and_dataset_are_trained(plugin: str, tmp_path: Path) -> None:
    pytest.importorskip('torch')
    recipe = tmp_path / 'recipe.yaml'
    recipe.write_text(
        'system: dgss-tiny\nweights: null\noptions: {width: 16}\n'
        'sources: [{dataset: stripes}]\n'
        'augmentation: {crop: [32, 64]}\nsteps: 3\nbatch: 2\nsave_every: 3\n'
    )
    run(sys.executable, '-m', 'dgss_core', 'train', '--config', recipe, '--data', tmp_path,
        '--output', tmp_path / 'run', '--hardware.workers', '0', '--hardware.accelerator', 'cpu',
        PYTHONPATH=plugin)  # fmt: skip
    code = (
        'import dgss_core as dgss, sys; model = dgss.load_checkpoint(sys.argv[1]); '
        'print(type(model.encoder).__name__)'
    )
    assert (
        run(sys.executable, '-c', code, tmp_path / 'run/model.safetensors', PYTHONPATH=plugin)
        == 'TinyEncoder\n'
    )


@needs_torch
def test_what_the_example_lacks_is_said(plugin: str, tmp_path: Path) -> None:
    pytest.importorskip('torch')
    recipe = tmp_path / 'recipe.yaml'
    recipe.write_text('system: dgss-tiny\nsources: [{dataset: stripes}]\n')
    train = ['train', '--config', recipe, '--data', tmp_path, '--output', tmp_path / 'run']
    for command, said in (
        (train, 'give weights the path of a file, or null for random ones'),
        (['data', 'check', 'stripes', tmp_path], 'stripes is no copy of a dataset'),
    ):
        result = subprocess.run(
            [sys.executable, '-m', 'dgss_core', *map(str, command)],
            env=os.environ | {'PYTHONPATH': plugin},
            capture_output=True,
            text=True,
        )
        assert result.returncode == 2
        assert said in result.stderr
        assert len(result.stderr.splitlines()) == 1


def test_without_the_package_its_names_are_unknown(capsys: pytest.CaptureFixture[str]) -> None:
    image = EXAMPLES.parent / 'dgss_core/runtime/bundles/street/frames/day_0.png'
    assert main(['segment', str(image), '--output', 'nowhere', '--backend', 'darkness']) == 2
    assert "There is no backend 'darkness'" in capsys.readouterr().err
