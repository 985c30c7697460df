"""Two-stage distillation: features first, then a head on the frozen encoder; and its ablation."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from tiny_training import CPU, RECIPES, parse, recipe, write_frames, write_recipe

from dgss_core.cli import main
from dgss_core.errors import DgssError
from dgss_core.networks.losses.counts import Counts
from dgss_core.training.ablation import arms
from dgss_core.training.build import build_model, build_objective
from dgss_core.training.loop import train
from dgss_core.training.teaching import Frame, correlation


@pytest.fixture(scope='module')
def frames(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp('data')
    write_frames(root)
    return root


@pytest.fixture(scope='module')
def teacher(frames) -> Path:
    output = frames / 'teacher'
    train(parse(recipe(frames, 'dgss', steps=2, mixing=None)), frames, output, CPU)
    return output / 'model.safetensors'


def student(frames: Path, teacher: Path, **changes) -> dict:
    """Recipe of a small convolutional network on frames with and without labels."""
    labelled = {'dataset': str(frames / 'frames.yaml')}
    values = {
        'options': {**RECIPES['famix']['options'], 'train': 'full'},
        'sources': [
            {'dataset': 'unlabelled', 'folder': str(frames / 'frames' / 'images')},
            {**labelled, 'repeat': 3.0},
        ],
        'mixing': None,
        'augmentation': {'crop': [64, 64], 'color': 'none'},
        'distillation': {'teacher': str(teacher), 'correlation': 2.0},
        'optimiser': {'rate': 5e-3},
        'steps': 4,
        'evaluation': {'splits': [labelled], 'pictures': 0},
    }
    return recipe(frames, 'famix', **{**values, **changes})


FIRST = {'probabilities': 0.0, 'labels': 0.0, 'correlation': 1.0}


def test_the_first_stage_trains_the_encoder_alone(frames, teacher, tmp_path):
    config = parse(
        student(frames, teacher, distillation={'teacher': str(teacher), **FIRST}, steps=20)
    )
    torch.manual_seed(config.seed)
    before = build_model(config).state_dict()
    train(config, frames, tmp_path, CPU)
    after = load_file(tmp_path / 'model.safetensors')
    for key, value in after.items():
        same = torch.equal(value, before[key])
        if key.startswith('head.'):
            assert same, f'{key}, a weight or a statistic of the head, changed'
        elif value.is_floating_point() and value.ndim > 1:
            assert not same, key
    objective = build_objective(config, build_model(config), None, CPU)
    losses = objective(
        torch.zeros(2, 3, 64, 64, dtype=torch.uint8), torch.ones(2, 64, 64).long(), 0
    )
    assert set(losses) == {'features', 'correlation'}


def test_the_second_stage_trains_the_head_alone(frames, teacher, tmp_path):
    first = {'teacher': str(teacher), **FIRST, 'correlation': 0.0}
    train(parse(student(frames, teacher, distillation=first)), frames, tmp_path / 'a', CPU)
    start = tmp_path / 'a' / 'model.safetensors'
    answers = {'teacher': str(teacher), 'features': 0.0}
    values = student(
        frames, teacher, distillation=answers, frozen=['encoder.*'], start=str(start), average=None
    )
    train(parse(values), frames, tmp_path / 'b', CPU)
    before, after = load_file(start), load_file(tmp_path / 'b' / 'model.safetensors')
    changed = {key.split('.')[0] for key in after if not torch.equal(before[key], after[key])}
    assert changed == {'head'}, 'not even statistics of norms in the encoder changed'


def by_hand(ours: torch.Tensor, theirs: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    cells = [x.flatten(1).T for x in (ours, theirs)]
    total = norm = 0.0
    for i, a in enumerate(weights.flatten()):
        for j, b in enumerate(weights.flatten()):
            one, two = (F.cosine_similarity(x[i], x[j], dim=0) for x in cells)
            total, norm = total + a * b * (one - two) ** 2, norm + a * b
    return total / norm


def test_the_correlation_loss_is_that_by_hand():
    torch.manual_seed(0)
    ours, theirs = torch.randn(2, 5, 4, 4), torch.randn(2, 7, 4, 4)
    inside = torch.ones(2, 8, 8, dtype=torch.bool)
    inside[0, :, 5:] = False
    frame = Frame((8, 8), (8, 8), inside, Counts.of(torch.zeros(2, 8, 8).long(), inside))
    weights = F.adaptive_avg_pool2d(inside.float(), 4)
    expected = sum(by_hand(*x) for x in zip(ours, theirs, weights, strict=True)) / 2
    exact = correlation(ours, theirs, frame)
    torch.testing.assert_close(exact, expected)
    turned = torch.linalg.qr(torch.randn(7, 7))[0]
    same = torch.einsum('ij,bjhw->bihw', 3 * turned, theirs)
    with torch.autocast('cpu', torch.bfloat16):
        assert torch.equal(correlation(ours, theirs, frame), exact), 'autocast rounds nothing'
    assert correlation(same, theirs, frame) < 1e-6, 'neither length nor direction counts'
    large = torch.randn(1, 5, 64, 48)
    whole = Frame((64, 48), (64, 48), None, Counts.of(torch.zeros(1, 64, 48).long()))
    assert correlation(large, large, whole) < 1e-6
    assert correlation(large, -torch.rand(1, 3, 64, 48), whole) > 0.1


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        ({'frozen': ['encoder.*']}, "of this student's encoder is trained"),
        ({'frozen': ['encoder.*', 'head.*'], 'distillation': None}, 'is left to train'),
        ({'frozen': ['encodr.*']}, "is called 'encodr"),
        ({'distillation': {**FIRST, 'features': 0.0, 'correlation': 0.0}}, 'learns nothing'),
    ],
)
def test_mistakes(frames, teacher, tmp_path, capsys, changes, message):
    if changes.get('distillation'):
        changes = {'distillation': {'teacher': str(teacher), **changes['distillation']}}
    path = write_recipe(tmp_path / 'r.yaml', student(frames, teacher, **changes))
    command = ['train', '--config', str(path), '--data', str(frames), '--output']
    assert main([*command, str(tmp_path / 'out'), '--hardware.accelerator', 'cpu']) == 2
    assert message in capsys.readouterr().err


def test_the_budgets_of_all_arms_are_equal(frames, teacher, tmp_path):
    config = parse(student(frames, teacher, steps=10))
    found = arms(config, tmp_path, 1, 0.3, ['features', 'correlation'])
    assert [arm.title for arm in found] == [
        'labels only',
        'one stage, features',
        'two stages, features',
        'one stage, correlation',
        'two stages, correlation',
    ]
    assert {arm.images for arm in found} == {40}
    assert [arm.images_where('encoder') for arm in found] == [40, 40, 12, 40, 12]
    assert [arm.images_where('head') for arm in found] == [40, 40, 28, 40, 28]
    assert [arm.images_where('teacher') for arm in found] == [0, 40, 40, 40, 40]
    # Three of four frames that are drawn have labels.
    assert [arm.labelled([8, 8], config) for arm in found] == [40, 30, 21, 30, 21]
    one, two = (arm.stages for arm in found[3:])
    assert one[0].config.distillation.correlation == 2
    assert one[0].config.distillation.features == 0
    assert two[0].config.distillation.labels == two[0].config.distillation.probabilities == 0
    assert two[1].config.start == tmp_path / 'seed-1' / 'two-correlation' / 'first' / (
        'model.safetensors'
    )
    labels_only = parse(
        student(frames, teacher, distillation={'teacher': str(teacher), 'probabilities': 0.0})
    )
    second = arms(labels_only, tmp_path, 1, 0.5, ['features'])[-1].stages[1].config
    assert second.distillation is None
    assert [s.dataset for s in second.sources] == [str(frames / 'frames.yaml')]


def bench(frames: Path, path: Path, output: Path, *options: str) -> int:
    command = ['bench', 'distill', '--config', str(path), '--data', str(frames), '--output']
    hardware = ['--hardware.accelerator', 'cpu', '--hardware.workers', '0']
    precise = ['--hardware.precision', '32-true']
    return main([*command, str(output), *hardware, *precise, *options])


def test_the_ablation_resumes_and_reports(frames, teacher, tmp_path, capsys, monkeypatch):
    path = write_recipe(tmp_path / 'r.yaml', student(frames, teacher))
    options = ('--seeds', '[1,2]', '--match', '["features"]')
    calls = []

    def counted(config, data, folder, *rest, **named):
        calls.append(str(folder.relative_to(tmp_path)))
        if len(calls) == 4:
            raise KeyboardInterrupt
        train(config, data, folder, *rest, **named)

    monkeypatch.setattr('dgss_core.training.ablation.train', counted)
    assert bench(frames, path, tmp_path / 'out', *options) == 130
    assert calls[:4] == [f'out/seed-1/{n}' for n in (
        'labels', 'one-features', 'two-features/first', 'two-features/second'
    )]  # fmt: skip
    capsys.readouterr()
    assert bench(frames, path, tmp_path / 'out', *options) == 0
    assert calls[4:] == ['out/seed-1/two-features/second'] + [
        f'out/seed-2/{n}'
        for n in ('labels', 'one-features', 'two-features/first', 'two-features/second')
    ]
    table = capsys.readouterr().out
    assert 'seeds 1, 2' in table
    assert 'gain of two stages' in table
    report = json.loads((tmp_path / 'out' / 'ablation.json').read_text())
    rows = {row['arm']: row for row in report['scores']}
    assert set(rows) == {'labels only', 'one stage, features', 'two stages, features'}
    one, two = rows['one stage, features'], rows['two stages, features']
    gains = [b - a for a, b in zip(one['miou'], two['miou'], strict=True)]
    assert two['gain']['mean'] == pytest.approx(sum(gains) / 2)
    assert [row['student'] for row in report['budgets']] == [16, 16, 16]
    longer = write_recipe(tmp_path / 'longer.yaml', student(frames, teacher, steps=6))
    assert bench(frames, longer, tmp_path / 'out', *options) == 2
    assert 'was begun with another' in capsys.readouterr().err


@pytest.mark.parametrize(
    ('changes', 'options', 'message'),
    [
        ({'distillation': None}, [], 'This recipe has no distillation'),
        ({}, ['--seeds', '[1,1]'], 'Seeds are different whole numbers'),
        ({}, ['--match', '["depth"]'], 'match is one or both of features, correlation'),
        ({}, ['--first', '1'], 'leaves one stage without any'),
        ({'evaluation': {'splits': []}}, [], 'Nothing would be scored'),
    ],
)
def test_mistakes_of_an_ablation(frames, teacher, tmp_path, capsys, changes, options, message):
    path = write_recipe(tmp_path / 'r.yaml', student(frames, teacher, **changes))
    assert bench(frames, path, tmp_path / 'out', *options) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / 'out').exists()


def test_a_report_of_others_is_not_overwritten(frames, teacher, tmp_path, capsys):
    path = write_recipe(tmp_path / 'r.yaml', student(frames, teacher))
    (tmp_path / 'ablation.json').write_text('{"mine": 1}')
    assert bench(frames, path, tmp_path) == 2
    assert 'is not an ablation' in capsys.readouterr().err
    bare = [{'dataset': 'unlabelled', 'folder': str(frames / 'frames' / 'images')}]
    given = {'teacher': str(teacher), 'probabilities': 0.0}
    config = parse(student(frames, teacher, sources=bare, distillation=given))
    with pytest.raises(DgssError, match='no stage trains the head'):
        arms(config, tmp_path, 1, 0.5, [])
