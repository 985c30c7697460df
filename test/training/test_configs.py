"""Every recipe of config/train parses, builds, and states its expected score."""

from __future__ import annotations

import re
from dataclasses import asdict
from pathlib import Path

import pytest
import torch
import yaml
from tiny_training import parse

from dgss_core.cli import main
from dgss_core.datasets import DATASETS, Synthetic
from dgss_core.datasets.layout import load_layout
from dgss_core.errors import DgssError
from dgss_core.networks.systems import SegmentationModel, build_system
from dgss_core.networks.undrawn import Undrawn
from dgss_core.training.build import sizes
from dgss_core.training.config import HardwareConfig, TrainConfig
from dgss_core.training.optimiser import build_optimiser
from dgss_core.training.recipe import plain

RECIPES = sorted((Path(__file__).parents[2] / 'config' / 'train').glob('*.yaml'))
MIXING = [path for path in RECIPES if 'mixing:' in path.read_text()]


def read(path: Path) -> TrainConfig:
    return parse(yaml.safe_load(path.read_text()))


def build(config: TrainConfig) -> SegmentationModel:
    with torch.device('meta'), Undrawn():
        return build_system(config.system, config.label_set, None, **sizes(config))


@pytest.mark.parametrize('path', RECIPES, ids=lambda path: path.stem)
def test_a_recipe_parses_and_builds(path: Path) -> None:
    config = read(path)
    model = build(config)
    optimiser = build_optimiser(config.optimiser, model)
    trained = sum(p.numel() for p in model.parameters() if p.requires_grad)
    assert sum(p.numel() for g in optimiser.param_groups for p in g['params']) == trained > 0
    config.augmentation.build()
    assert parse(plain(asdict(config))) == config, 'the saved config is the recipe'


@pytest.mark.parametrize('path', RECIPES, ids=lambda path: path.stem)
def test_a_recipe_names_data_that_exists(path: Path) -> None:
    config = read(path)
    for split in [*config.sources, *config.evaluation.splits]:
        assert split.dataset in DATASETS
        if split.dataset == 'synthetic':
            assert len(Synthetic.of_split(split.split, **split.options))
            continue
        if split.dataset == 'unlabelled':
            assert split.folder, 'any folder, video or bag'
            continue
        found = load_layout(split.dataset).split(split.split)
        maps = [name for entry in found.labels for name in entry.get('map', ())]
        assert split.options.get('mapping') in (None, *maps)


@pytest.mark.parametrize('path', RECIPES, ids=lambda path: path.stem)
def test_a_recipe_states_its_expected_score_and_source(path: Path) -> None:
    comment = ' '.join(re.findall(r'^# (.*)$', path.read_text(), re.MULTILINE))
    assert re.search(r'\d\d\.\d|\.\d{3}|No score', comment), comment
    assert re.search(r'(CVPR|ACCV|AAAI|IJCV|et al.,) 20\d\d|Ours', comment), comment


@pytest.mark.parametrize('path', MIXING, ids=lambda path: path.stem)
def test_patches_of_mixed_styles_divide_the_crop_and_its_map(path: Path) -> None:
    config = read(path)
    assert config.mixing is not None
    stride = min(16, *build(config).encoder.strides) if 'dinov2' not in config.system else 16
    for length in config.augmentation.crop:
        assert length % config.mixing.side == 0
        assert length // stride % config.mixing.side == 0


def test_schedules_match_the_papers() -> None:
    rein = read(next(p for p in RECIPES if p.stem == 'rein-dinov2-l-cityscapes')).optimiser
    factors = [rein.schedule.factor(step, 40_000) for step in (0, 5_000, 10_000, 25_000, 40_000)]
    assert factors == pytest.approx([1e-6, 0.5000005, 1, 0.5**0.9, 0])
    vltseg = read(next(p for p in RECIPES if p.stem == 'vltseg-eva02-clip-l-gta')).optimiser
    factors = [vltseg.schedule.factor(step, 5_000) for step in (0, 499, 500, 2_750, 5_000)]
    assert factors == pytest.approx([1, 1, 1, 0.5**0.9, 0])


def test_the_command_reads_a_recipe_and_changes_to_it(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    recipe = next(p for p in RECIPES if p.stem == 'street-mobilenetv2')
    command = ['train', '--config', str(recipe), '--output', str(tmp_path / 'out')]
    for wrong, sentence in (
        (['--data', str(tmp_path / 'nowhere')], 'There is no .*nowhere/camvid; give the folder'),
        (['--config.sistem', 'x'], 'sistem'),
        (['--config.steps', 'many'], 'config.steps'),
        (['--config.steps', '0'], 'steps.* at least 1'),
        (['--config', str(tmp_path / 'none.yaml')], 'There is no file .*none.yaml'),
    ):
        assert main([*command, *wrong]) == 2
        assert re.search(sentence, capsys.readouterr().err)
    assert not (tmp_path / 'out').exists()


def test_fsdp_takes_no_other_layout() -> None:
    assert HardwareConfig(strategy='fsdp', channels_last=False).channels_last is False
    with pytest.raises(DgssError, match=r'leave hardware\.channels_last out'):
        HardwareConfig(strategy='fsdp', channels_last=True)


def test_a_batch_is_shared_by_processes_and_parts() -> None:
    assert HardwareConfig(at_once=2).accumulation(16, 4) == 2
    assert HardwareConfig().accumulation(16, 4) == 1
    for hardware, batch, processes in (
        (HardwareConfig(at_once=3), 16, 4),
        (HardwareConfig(), 4, 3),
    ):
        with pytest.raises(DgssError, match='let processes times hardware'):
            hardware.accumulation(batch, processes)
