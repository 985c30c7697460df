"""User mistakes and exhausted resources end in an error of one sentence."""

from __future__ import annotations

import re
import resource
import sys
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
import yaml
from preloaded import start
from safetensors.torch import load_file
from tiny_training import CPU, parse, recipe, write_frames, write_recipe

from dgss_core.cli import main
from dgss_core.errors import DgssError
from dgss_core.networks.checkpoint import write_tensors
from dgss_core.training.config import HardwareConfig
from dgss_core.training.loop import train


def run(root: Path, values: dict, hardware: HardwareConfig = CPU, **options) -> None:
    train(parse(values), root, root / 'run', hardware, **options)


def test_a_missing_dataset(tmp_path: Path) -> None:
    write_frames(tmp_path)
    values = recipe(tmp_path, sources=[{'dataset': 'camvid'}])
    with pytest.raises(DgssError, match=r'There is no .*/camvid; give the folder'):
        run(tmp_path, values)
    with pytest.raises(DgssError, match="There is no dataset 'gta'"):
        run(tmp_path, recipe(tmp_path, sources=[{'dataset': 'gta'}]))
    assert not (tmp_path / 'run').exists()


def test_frames_are_read_after_everything_that_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    write_frames(tmp_path)
    hardware = replace(CPU, in_memory=True)
    with pytest.raises(DgssError, match='rein-dinov2-z'):
        run(tmp_path, recipe(tmp_path, system='rein-dinov2-z'), hardware)
    with pytest.raises(DgssError, match='absent'):
        run(tmp_path, recipe(tmp_path, weights='absent'), hardware)
    assert 'into memory' not in capsys.readouterr().out


@pytest.mark.parametrize(
    ('key', 'options', 'reason'),
    [
        ('options', {'typo': 1}, "unexpected keyword argument 'typo'"),
        ('encoder_options', {'typo': 1}, "unexpected keyword argument 'typo'"),
        ('options', {'width': -1}, 'cannot be built with the options'),
    ],
)
def test_an_option_that_a_system_does_not_take(
    key: str, options: dict, reason: str, tmp_path: Path
) -> None:
    write_frames(tmp_path)
    values = recipe(tmp_path)
    values[key] = {**values[key], **options}
    with pytest.raises(DgssError, match=reason) as caught:
        run(tmp_path, values)
    assert '\n' not in str(caught.value)


@pytest.mark.parametrize(
    ('changes', 'reason'),
    [
        ({'optimiser': {'rate': -1}}, 'rate is -1'),
        ({'optimiser': {'layer_decay': 1e30}}, 'layer_decay is 1e+30; give 0 to 1'),
        ({'augmentation': {'flip': -1}}, 'flip is -1'),
        ({'augmentation': {'crop': [10**20, 64]}}, 'crop is'),
        ({'augmentation': {'scale': [1, 1e30]}}, 'scale is'),
        ({'steps': 10**27}, 'steps is'),
        ({'seed': 10**27}, 'seed is'),
    ],
)
def test_a_number_out_of_its_range(changes: dict, reason: str, tmp_path: Path) -> None:
    with pytest.raises((DgssError, SystemExit, ValueError), match=re.escape(reason)):
        parse(recipe(tmp_path, **changes))


def test_hardware_out_of_its_range() -> None:
    for wrong in ({'workers': -1}, {'at_once': -1}, {'at_once': 0}):
        with pytest.raises(DgssError, match=f'{next(iter(wrong))} is'):
            HardwareConfig(**wrong)


def test_a_missing_gpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_frames(tmp_path)
    monkeypatch.setenv('LOCAL_WORLD_SIZE', '1000')
    with pytest.raises(DgssError, match='GPUs on this machine for 1000 processes'):
        run(tmp_path, recipe(tmp_path), HardwareConfig('cuda'))


def test_a_frame_without_labels(tmp_path: Path) -> None:
    write_frames(tmp_path)
    (tmp_path / 'frames' / 'labels' / '3.png').unlink()
    with pytest.raises(DgssError, match='label'):
        run(tmp_path, recipe(tmp_path))
    assert not (tmp_path / 'run').exists()


@pytest.mark.parametrize('workers', [0, 1])
def test_a_label_outside_the_map(workers: int, tmp_path: Path) -> None:
    write_frames(tmp_path)
    path = tmp_path / 'frames' / 'labels' / '3.png'
    cv2.imwrite(str(path), np.full((96, 96), 77, np.uint8))
    with pytest.raises(DgssError) as caught:
        run(tmp_path, recipe(tmp_path), HardwareConfig('cpu', '32-true', workers=workers))
    message = str(caught.value)
    assert message.startswith(str(path))
    assert 'the id 77, which is no class of label set' in message
    assert '\n' not in message


def test_a_loss_that_is_not_finite_stops_the_training(tmp_path: Path) -> None:
    write_frames(tmp_path)
    schedule = {'warmup': 18, 'warmup_from': 0.0}
    values = recipe(tmp_path, 'famix', steps=40, save_every=1)
    values['optimiser'] |= {'rate': 1e20, 'schedule': schedule}
    with pytest.raises(DgssError, match=r'At step 3 the loss was .* is the last good state'):
        run(tmp_path, values)
    state = load_file(tmp_path / 'run' / 'state.safetensors')
    assert all(x.isfinite().all() for x in state.values())


def test_nothing_was_saved_yet(tmp_path: Path) -> None:
    write_frames(tmp_path)
    values = recipe(tmp_path, 'famix', steps=20)
    values['optimiser'] |= {'rate': 1e20}
    with pytest.raises(DgssError, match=r'At step 2 .* nothing was saved yet'):
        run(tmp_path, values)


def test_a_full_disk_leaves_the_last_file_whole(tmp_path: Path) -> None:
    path = tmp_path / 'state.safetensors'
    write_tensors({'x': torch.ones(1000)}, path, {})
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, limits[1]))
    try:
        with pytest.raises(DgssError, match=r'could not be written .* enough room'):
            write_tensors({'x': torch.zeros(100_000)}, path, {})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert load_file(path)['x'].sum() == 1000
    assert list(tmp_path.iterdir()) == [path]


def on_a_full_disk(command: list[str]) -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))
    sys.exit(main(command))


def test_a_full_disk_ends_a_training_in_a_sentence(tmp_path: Path) -> None:
    write_frames(tmp_path)
    config = write_recipe(tmp_path / 'recipe.yaml', recipe(tmp_path, steps=2))
    command = [
        'train', '--config', config, '--data', tmp_path,
        '--output', tmp_path / 'run', '--hardware.accelerator', 'cpu', '--hardware.workers', '0',
    ]  # fmt: skip
    process = start(on_a_full_disk, list(map(str, command)), output=tmp_path / 'log')
    process.join()
    printed = (tmp_path / 'log').read_text()
    assert process.exitcode == 2, printed
    last = printed.splitlines()[-1]
    assert last.startswith('dgss: error: ')
    assert 'could not be written' in last
    assert not list((tmp_path / 'run').glob('*.safetensors*'))


def test_an_image_behind_a_link_without_a_target(tmp_path: Path) -> None:
    write_frames(tmp_path)
    path = tmp_path / 'frames' / 'images' / '3.png'
    path.unlink()
    path.symlink_to('/gone/3.png')
    with pytest.raises(DgssError, match=r"3.png is a link to '/gone/3.png', which does not"):
        run(tmp_path, recipe(tmp_path))


def test_two_label_sets_of_one_name_are_told_apart(tmp_path: Path) -> None:
    write_frames(tmp_path, classes=2)
    sources = []
    for number, second in enumerate(('sidewalk', 'car')):
        labels = [
            {'id': index, 'name': name, 'color': [index, 0, 0]}
            for index, name in enumerate(('road', second))
        ]
        text = yaml.safe_dump({'name': 'own', 'labels': labels})
        (tmp_path / f'set{number}.yaml').write_text(text)
        text = (tmp_path / 'frames.yaml').read_text().replace('cityscapes19', f'set{number}.yaml')
        (tmp_path / f'frames{number}.yaml').write_text(text)
        dataset = str(tmp_path / f'frames{number}.yaml')
        sources.append({'dataset': dataset, 'folder': 'frames'})
    with pytest.raises(DgssError, match=r"named 'own' .* has 'sidewalk', only one has 'car'"):
        run(tmp_path, recipe(tmp_path, sources=sources))
