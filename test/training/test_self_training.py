"""Self-training (stage B of CLOUDS): pseudo-labels for unlabelled images, resumed exactly."""

from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from tiny_training import CPU, RECIPES, parse, recipe, write_frames, write_recipe
from two_processes import run_two

from dgss_core.errors import DgssError
from dgss_core.networks.systems import build_system
from dgss_core.training.augmentation.changes import changed, changed_batch
from dgss_core.training.augmentation.photometric import PhotometricDistortion
from dgss_core.training.augmentation.pixels import to_pixels
from dgss_core.training.average import AverageConfig
from dgss_core.training.build import build_objective
from dgss_core.training.chance import seeded
from dgss_core.training.data import batches
from dgss_core.training.loop import setup, train
from dgss_core.training.objective import Objective
from dgss_core.training.parallel import build_fabric
from dgss_core.training.record import Record
from dgss_core.training.self_training import SelfTraining, SelfTrainingConfig

PLAIN = {'teacher': {'decay': 0.5, 'every': 2}}


def system(name: str = 'dgss'):
    values = RECIPES[name]
    torch.manual_seed(0)
    options = values.get('options', {})
    return build_system(
        values['system'], 'cityscapes19', None, values['encoder_options'], **options
    )


def stage_b(root: Path, name: str = 'clouds', **changes):
    """Recipe with a labelled source and the same frames without labels."""
    frames = {'dataset': str(root / 'frames.yaml')}
    bare = {
        'dataset': 'unlabelled',
        'folder': str(root / 'frames' / 'images'),
        'repeat': 0.5,
        'augmentation': {'crop': [64, 64], 'color': 'none'},
    }
    return recipe(root, name, **{'sources': [frames, bare], 'self_training': PLAIN, **changes})


def batch(size: int = 64):
    random = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (3, 3, size, size), dtype=torch.uint8, generator=random)
    labels = torch.randint(0, 4, (3, size, size), generator=random)
    labels[1] = 255
    return images, labels


def test_labelled_images_do_not_change():
    model = system().eval()
    objective = SelfTraining(model, SelfTrainingConfig(), 1)
    objective.begin()
    images, labels = batch()
    labels[1] = 2
    plain = Objective(model)(images, labels, 5)
    assert torch.equal(objective(images, labels, 5)['ce'], plain['ce'])


def test_a_labelled_source_may_have_a_crop_without_labels():
    model = system().eval()
    images, labels = batch()
    plain = Objective(model)(images, labels, 5)
    objective = SelfTraining(model, SelfTrainingConfig(), 1)
    losses = objective(images, labels, 5, torch.ones(3, dtype=torch.bool))
    assert torch.equal(losses['ce'], plain['ce'])


def test_a_batch_knows_which_images_are_labelled(tmp_path):
    write_frames(tmp_path)
    config = parse(stage_b(tmp_path, name='dgss'))
    training = setup(build_fabric(CPU), config, tmp_path, Record(tmp_path / 'run', True), CPU)
    for found in islice(batches(training.loader), 4):
        assert torch.equal(found.labelled, (found.labels != 255).flatten(1).any(1))


def test_the_teacher_is_the_average_and_sees_the_unchanged_image():
    model = system().eval()
    objective = SelfTraining(model, SelfTrainingConfig(AverageConfig(0.5, 0, 2)), 1)
    objective.begin()
    images, _ = batch()
    at_first = objective.ask(images)
    assert torch.equal(at_first, model.eval().at_size(images.float()).argmax(1))
    before = {n: p.detach().clone() for n, p in objective.named_parameters() if p.requires_grad}
    for parameter in objective.parameters():
        if parameter.requires_grad:
            torch.nn.init.normal_(parameter, std=0.5)
    after = {n: p.detach().clone() for n, p in objective.named_parameters() if p.requires_grad}
    assert torch.equal(objective.ask(images), at_first), 'no update yet'
    objective.teacher.update(objective, 1)
    assert torch.equal(objective.ask(images), at_first), 'only every second step'
    objective.teacher.update(objective, 2)
    for name, x in before.items():
        torch.testing.assert_close(objective.teacher.state[name], (x + after[name]) / 2)
    with objective.teacher.applied(objective):
        expected = model.eval().at_size(images.float()).argmax(1)
    assert torch.equal(objective.ask(images), expected)
    assert all(torch.equal(p, after[n]) for n, p in objective.named_parameters() if n in after)


def test_the_model_sees_other_colours_and_only_unlabelled_images_change():
    seen = []

    class Recorder(SelfTraining):
        def mixed(self, labels, seed):
            seen.append(labels)
            return super().mixed(labels, seed)

    model = system().eval()
    objective = Recorder(model, SelfTrainingConfig(), 2)
    objective.begin()
    images, labels = batch()
    expected = model.at_size(images[1:2].float()).argmax(1)[0]
    shown = []
    handle = model.encoder.register_forward_pre_hook(lambda _, x: shown.append(x[0]))
    objective(images, labels[:, ::2, ::2], 7)
    handle.remove()
    plain = model.normalise(images.float())
    assert torch.equal(shown[0], plain[1:2]), 'the teacher sees the unchanged image'
    assert torch.equal(shown[1][[0, 2]], plain[[0, 2]])
    assert not torch.equal(shown[1][1], plain[1])
    assert torch.equal(seen[0][[0, 2]], labels[[0, 2], ::2, ::2])
    assert torch.equal(seen[0][1], expected[1::2, 1::2])
    assert (labels[1] == 255).all(), 'the batch itself is not touched'
    assert torch.equal(objective.distorted(images, 3), objective.distorted(images, 3))
    assert not torch.equal(objective.distorted(images, 3), objective.distorted(images, 4))


def test_the_teacher_answers_as_written():
    model = system('clouds').eval()
    objective = SelfTraining(model, SelfTrainingConfig(), 1)
    images, _ = batch()
    expected = objective.ask(images)
    ran = []

    def backend(graph, inputs):
        return lambda *given: ran.append(graph) or graph(*given)

    for block in model.encoder.trunk()[-1]:
        block.compile(backend=backend)
    assert torch.equal(objective.ask(images), expected)
    assert not ran
    with torch.no_grad():
        model(images.float())
    assert ran


def test_a_cpu_distorts_one_image_at_a_time():
    objective = SelfTraining(system().eval(), SelfTrainingConfig(), 1)
    images, _ = batch()
    with seeded(3):
        looks = [PhotometricDistortion().draw() for _ in images]
    single = [changed(to_pixels(image), look) for image, look in zip(images, looks, strict=True)]
    found = objective.distorted(images, 3)
    assert np.array_equal(found.permute(0, 2, 3, 1), np.stack(single))
    assert (found.int() - changed_batch(images, looks).int()).abs().max() <= 2


def test_autocast_keeps_no_weights_of_the_teacher():
    model = system()
    objective = SelfTraining(model, SelfTrainingConfig(), 1)
    objective.begin()
    images, labels = batch()
    for name, x in objective.teacher.state.items():
        if x.is_floating_point():
            objective.teacher.state[name] = torch.randn_like(x)
    found = objective.ask(images[1:2])
    whole = labels.clone()
    whole[1] = found[0]
    changed = images.clone()
    changed[1] = objective.distorted(images[1:2], 3)[0]
    results = []
    for objective_of, x, y in ((objective, images, labels), (Objective(model), changed, whole)):
        model.zero_grad()
        torch.manual_seed(0)
        with torch.autocast('cpu', torch.bfloat16):
            loss = objective_of(x, y, 3)['ce']
        loss.backward()
        grads = [p.grad.clone() for p in model.parameters() if p.requires_grad]
        results.append((loss.item(), torch.cat([g.flatten() for g in grads])))
    assert results[0][0] == results[1][0]
    assert torch.equal(results[0][1], results[1][1])
    assert results[0][1].abs().max() > 0


@pytest.mark.parametrize('name', ['clouds', 'dgss'])
def test_stage_b_learns_and_is_resumed_to_the_bit(name, tmp_path):
    write_frames(tmp_path)
    values = stage_b(tmp_path, name, steps=12, save_every=4)
    train(parse(values), tmp_path, tmp_path / 'whole', CPU)

    class KillError(Exception):
        pass

    config, cut = parse(values), tmp_path / 'cut'
    save = Record.log

    def log(record, values, step):
        save(record, values, step)
        if step == 8:
            raise KillError

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Record, 'log', log)
        with pytest.raises(KillError):
            train(config, tmp_path, cut, CPU)
    train(parse(values), tmp_path, cut, CPU, resume=True)
    for file in ('state', 'model'):
        ours, theirs = (load_file(p / f'{file}.safetensors') for p in (cut, tmp_path / 'whole'))
        assert ours.keys() == theirs.keys()
        assert all(torch.equal(ours[k], theirs[k]) for k in ours)
    state = load_file(tmp_path / 'whole' / 'state.safetensors')
    teacher = {k for k in state if k.startswith('teacher.')}
    assert teacher
    assert not any(k.startswith('teacher.model.encoder') for k in teacher) or name == 'dgss'
    assert not any('teacher' in k for k in load_file(tmp_path / 'whole' / 'model.safetensors'))
    moved = [not torch.equal(state[k], state[k.replace('teacher.', 'weights.')]) for k in teacher]
    assert np.mean(moved) > 0.9, 'the teacher lags behind'


def test_stage_b_with_segment_anything(tmp_path):
    pytest.importorskip('transformers', reason='needs pip install dgss_ros[generate]')
    from tiny_models import sam

    write_frames(tmp_path)
    refinement = {'sam': sam(tmp_path / 'sam'), 'min_area': 100, 'points': 3}
    values = stage_b(tmp_path, steps=2, self_training={**PLAIN, 'refinement': refinement})
    train(parse(values), tmp_path, tmp_path / 'run', CPU)

    config = parse(values)
    objective = build_objective(config, system('clouds'), None, CPU)
    objective.begin()
    images, _ = batch()
    raw = objective.ask(images)
    found = objective.refined(images, raw, 4)
    assert torch.equal(found, objective.refined(images, raw, 4))
    assert found.shape == raw.shape
    assert not torch.equal(found, raw)
    assert all(key.startswith('model.') for key in objective.state_dict())


def test_self_training_with_distillation_is_refused(tmp_path):
    with pytest.raises(DgssError, match='drop one'):
        parse(stage_b(tmp_path, distillation={'teacher': 'a.safetensors'}))


def test_setup_gives_the_teacher_the_first_weights(tmp_path):
    write_frames(tmp_path)
    record = Record(tmp_path / 'run', True)
    config = parse(stage_b(tmp_path))
    training = setup(build_fabric(CPU), config, tmp_path, record, CPU)
    teacher = training.state.teacher
    weights = training.state.model.state_dict()
    assert all(torch.equal(x, weights[name]) for name, x in teacher.state.items())
    assert all('encoder' not in name for name in teacher.state), 'frozen and shared'


@pytest.mark.slow
def test_two_processes_with_spread_weights(tmp_path):
    """A process with only labelled images must not deadlock the other."""
    write_frames(tmp_path)
    path = write_recipe(tmp_path / 'r.yaml', stage_b(tmp_path, steps=6))
    assert 'step 6/6' in run_two(path, tmp_path, tmp_path / 'run', 'fsdp')
