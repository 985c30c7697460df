"""A small student learns from its teacher on unlabelled frames."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from tiny_training import CPU, RECIPES, parse, recipe, write_frames, write_recipe

from dgss_core.cli import main
from dgss_core.datasets import build_dataset
from dgss_core.errors import DgssError
from dgss_core.labels import LabelSet
from dgss_core.networks.checkpoint import load_checkpoint
from dgss_core.networks.losses.merged import MergedLoss
from dgss_core.training.build import build_model, build_objective
from dgss_core.training.config import HardwareConfig
from dgss_core.training.distill import angle, check_pair, divergence
from dgss_core.training.loop import train


@pytest.fixture(scope='module')
def frames(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp('data')
    write_frames(root, count=12)
    return root


@pytest.fixture(scope='module')
def teacher(frames) -> Path:
    """A small ViT with low-rank adapters, trained until it separates the colours."""
    output = frames / 'teacher'
    values = recipe(frames, 'dgss', steps=100, mixing=None, optimiser={'rate': 5e-3})
    train(parse(values), frames, output, CPU)
    return output / 'model.safetensors'


def student(frames: Path, teacher: Path, **changes) -> dict:
    """Recipe of a small convolutional network on the frames without their labels."""
    values = {
        'options': {**RECIPES['famix']['options'], 'train': 'full'},
        'sources': [{'dataset': 'unlabelled', 'folder': str(frames / 'frames' / 'images')}],
        'mixing': None,
        'average': None,
        'optimiser': {'rate': 5e-3},
        'augmentation': {'crop': [64, 64], 'color': 'none'},
        'distillation': {'teacher': str(teacher)},
        'steps': 50,
        'evaluation': {'splits': []},
    }
    return recipe(frames, 'famix', **{**values, **changes})


@torch.no_grad()
def agreement(model, teacher, images) -> float:
    ours, theirs = (m.eval().at_size(images).argmax(1) for m in (model, teacher))
    return (ours == theirs).float().mean().item()


def test_a_student_learns_from_its_teacher(frames, teacher, tmp_path):
    config = parse(student(frames, teacher))
    train(config, frames, tmp_path, CPU)
    unseen = build_dataset('unlabelled', write_more(tmp_path))
    images = torch.stack([torch.from_numpy(f.image).permute(2, 0, 1) for f in unseen]).float()
    torch.manual_seed(1)
    before = build_model(config)
    after, expert = load_checkpoint(tmp_path / 'model.safetensors'), load_checkpoint(teacher)
    assert len(expert.eval().at_size(images).argmax(1).unique()) > 2, 'there is something to learn'
    closer = agreement(after, expert, images)
    assert closer > 0.6
    assert closer > agreement(before, expert, images) + 0.3
    assert not any('projection' in key for key in load_file(tmp_path / 'model.safetensors'))


def write_more(root: Path) -> Path:
    """Frames of the same kind that were not in the training."""
    write_frames(root, count=16)
    for index in range(12):
        (root / 'frames' / 'images' / f'{index}.png').unlink()
    return root / 'frames' / 'images'


def objective_of(frames, teacher, **changes):
    config = parse(student(frames, teacher, **changes))
    torch.manual_seed(0)
    return build_objective(config, build_model(config), None, CPU)


def batch(labelled: bool):
    random = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (2, 3, 64, 64), dtype=torch.uint8, generator=random)
    labels = torch.full((2, 64, 64), 255)
    if labelled:
        labels[0] = 3
    return images, labels


def test_the_losses(frames, teacher):
    weights = {'probabilities': 2.0, 'features': 3.0, 'labels': 5.0, 'temperature': 2.0}
    objective = objective_of(
        frames, teacher, distillation={'teacher': str(teacher), **weights}
    ).eval()
    expert = load_checkpoint(teacher)
    for labelled in (False, True):
        images, labels = batch(labelled)
        losses = objective(images, labels, 0)
        features = objective.model.features(images.float())
        scores = objective.model.scores(features)
        theirs = expert.features(images.float())
        size = scores.shape[-2:]
        target = F.interpolate(expert(images.float()).softmax(1), size, mode='bilinear')
        p, q = (target.log() / 2).softmax(1), (scores / 2).softmax(1)
        expected = (p * (p / q).log()).sum(1).mean() * 4
        torch.testing.assert_close(losses['probabilities'], 2 * expected, rtol=1e-3, atol=1e-5)
        projected = objective.projection(features[-1])
        wanted = F.interpolate(theirs[-1], projected.shape[-2:], mode='bilinear')
        cosine = F.cosine_similarity(projected, wanted, dim=1).mean()
        torch.testing.assert_close(losses['features'], 3 * (1 - cosine), rtol=1e-3, atol=1e-4)
        if labelled:
            up = F.interpolate(scores, (64, 64), mode='bilinear')
            entropy = F.cross_entropy(up, labels, ignore_index=255, label_smoothing=0.1)
            torch.testing.assert_close(losses['labels'], 5 * entropy, rtol=1e-4, atol=1e-4)
        else:
            assert losses['labels'] == 0


def test_a_perfect_student_has_nothing_to_learn():
    scores = torch.randn(2, 5, 8, 8)
    for temperature in (1.0, 4.0):
        loss = divergence(scores, scores.softmax(1), temperature)
        torch.testing.assert_close(loss, torch.zeros(()), atol=1e-5, rtol=0)
        assert divergence(-scores, scores.softmax(1), temperature) > 0.1
    features = torch.randn(2, 6, 4, 4)
    torch.testing.assert_close(angle(7 * features, features), torch.zeros(()), atol=1e-5, rtol=0)
    torch.testing.assert_close(angle(-features, features), torch.tensor(2.0))


def test_the_teacher_does_not_change_and_is_not_saved(frames, teacher):
    objective = objective_of(frames, teacher)
    before = load_file(teacher)
    images, labels = batch(False)
    objective.train()
    sum(objective(images, labels, 0).values()).backward()
    expert = objective.teacher[0]
    assert not expert.training
    assert all(torch.equal(x, before[k]) for k, x in expert.state_dict().items())
    assert all(parameter.grad is None for parameter in expert.parameters())
    assert objective.projection.weight.grad.abs().max() > 0
    assert len(objective.own_parameters()) == 2
    prefixes = {key.split('.')[0] for key in objective.state_dict()}
    assert prefixes == {'model', 'projection'}


def test_a_labelled_source_and_a_bit_identical_resume(frames, teacher, tmp_path):
    bare = {'dataset': 'unlabelled', 'folder': str(frames / 'frames' / 'images')}
    both = [bare, {'dataset': str(frames / 'frames.yaml'), 'repeat': 0.5}]
    values = student(frames, teacher, sources=both, steps=6, save_every=3)
    train(parse(values), frames, tmp_path / 'whole', CPU)
    whole = load_file(tmp_path / 'whole' / 'state.safetensors')
    assert any(key.startswith('optimiser.projection') for key in whole)

    class Stop(Exception):  # noqa: N818
        pass

    def log(record, values, step):
        if step == 3:
            stopped.append(step)
        elif stopped:
            raise Stop

    stopped: list[int] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr('dgss_core.training.record.Record.log', log)
        with pytest.raises(Stop):
            train(parse(values), frames, tmp_path / 'cut', CPU)
    train(parse(values), frames, tmp_path / 'cut', CPU, resume=True)
    cut = load_file(tmp_path / 'cut' / 'state.safetensors')
    assert cut.keys() == whole.keys()
    assert all(torch.equal(cut[key], whole[key]) for key in cut)


def test_a_mask_head_can_be_the_teacher(frames, tmp_path):
    """The scores of Mask2Former are not logits, so probabilities are compared."""
    train(parse(recipe(frames, 'clouds', steps=1)), frames, tmp_path, CPU)
    objective = objective_of(frames, tmp_path / 'model.safetensors')
    images, labels = batch(False)
    _, target = objective.ask(images.float())
    torch.testing.assert_close(target.sum(1), torch.ones_like(target[:, 0]))
    losses = objective(images, labels, 0)
    assert all(torch.isfinite(loss) for loss in losses.values())


def test_the_real_time_network_in_bf16(frames, teacher, tmp_path):
    hardware = HardwareConfig('cpu', 'bf16-mixed', workers=0)
    network = {'system': 'dgss-mobilenetv2', 'encoder_options': {}, 'options': {'width': 16}}
    train(parse(student(frames, teacher, steps=1, **network)), frames, tmp_path, hardware)


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        ({'distillation': {'teacher': 'none.safetensors'}}, 'There is no checkpoint'),
        ({'label_set': 'camvid11'}, 'give both the same'),
        ({**RECIPES['clouds']}, 'Mask2FormerHead cannot be distilled into'),
    ],
)
def test_mistakes(frames, teacher, tmp_path, changes, message):
    with pytest.raises(DgssError, match=message):
        train(parse(student(frames, teacher, **changes)), frames, tmp_path, CPU)


def test_a_teacher_with_other_classes_in_a_set_of_the_same_name(frames, teacher):
    config = parse(student(frames, teacher))
    model = build_model(config)
    other = build_model(config)
    other.label_set = replace(model.label_set, labels=model.label_set.labels[:5])
    with pytest.raises(DgssError, match="Two different label sets are named 'cityscapes19'"):
        check_pair(model, other, config.distillation)


@pytest.mark.parametrize('coarse', [True, False])
def test_auxiliary_heads_that_would_learn_nothing_are_refused(frames, teacher, coarse):
    network = {'encoder_options': {'width': 4, 'pooled': 8}, 'options': {'auxiliary': True}}
    config = parse(student(frames, teacher, system='pidnet-s', **network))
    model, merged = build_model(config), None
    if coarse:
        config.distillation = None
        merged = MergedLoss(model.label_set, [LabelSet.load('camvid11')])
    with pytest.raises(
        DgssError, match=r'heads of pidnet-s would .* set options.auxiliary to false'
    ):
        build_objective(config, model, merged, CPU)


@pytest.mark.parametrize(
    ('distillation', 'message'),
    [
        ({'labels': -1}, 'A student cannot learn at temperature 1.0 with weights'),
        ({'temperatur': 2}, "r.yaml: distillation: Option 'temperatur' is not accepted"),
    ],
)
def test_a_mistake_in_a_recipe_is_one_sentence(frames, tmp_path, capsys, distillation, message):
    values = student(frames, Path('x'), distillation={'teacher': 'x', **distillation})
    path = write_recipe(tmp_path / 'r.yaml', values)
    assert main(['train', '--config', str(path), '--output', str(tmp_path / 'out')]) == 2
    error = capsys.readouterr().err
    assert error.startswith('dgss: error: ')
    assert message in error
    assert error.count('\n') == 1
