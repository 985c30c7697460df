"""A step with few launches learns what the plain forms of its parts learn."""

from __future__ import annotations

from dataclasses import replace
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_training import CPU, parse, recipe, write_frames
from torch import Tensor, nn

from dgss_core.datasets import Sample
from dgss_core.labels import LabelSet
from dgss_core.networks.losses.counts import Counts
from dgss_core.networks.systems import SegmentationModel, build_system
from dgss_core.training.average import Average, AverageConfig, moving
from dgss_core.training.compilation import as_written, compile_blocks, has_batch_norms
from dgss_core.training.config import HardwareConfig
from dgss_core.training.data import batches, worth_keeping
from dgss_core.training.loop import setup
from dgss_core.training.optimiser import OptimiserConfig, build_optimiser, clip_gradients
from dgss_core.training.parallel import build_fabric
from dgss_core.training.record import Record
from dgss_core.training.styles import patch_classes, split_patches

STEPS = 6


class SimpleDataset:
    """Frames without labels."""

    label_set, title, fingerprint = LabelSet.load('cityscapes19'), 'frames', 'f'

    def __init__(self, frames: list[np.ndarray]) -> None:
        self.frames = frames

    def __len__(self) -> int:
        return len(self.frames)

    def __getitem__(self, index: int) -> Sample:
        image = self.frames[index]
        return Sample(str(index), image, self.labels(index), 'day')

    def labels(self, index: int) -> np.ndarray:
        return np.full(self.frames[index].shape[:2], 255, np.uint8)


def network() -> SegmentationModel:
    torch.manual_seed(0)
    return build_system('dgss-mobilenetv2', weights=None)


def plain(optimiser: torch.optim.Optimizer) -> torch.optim.Optimizer:
    """The same optimiser, one parameter after the other."""
    for group in optimiser.param_groups:
        group.update(fused=False, foreach=False)
    return optimiser


def learnt(config: OptimiserConfig, few_launches: bool) -> tuple[list[float], dict[str, Tensor]]:
    """The losses of some steps, and the averaged weights after them."""
    # In float64 the order of sums does not matter to what is compared.
    model = network().double().train()
    optimiser = build_optimiser(config, model)
    average = Average(model, AverageConfig(0.9))
    images = torch.randint(0, 256, (2, 3, 64, 64), generator=torch.Generator().manual_seed(1))
    labels = torch.arange(4).repeat_interleave(8).repeat(2, 32, 1)
    losses = []
    if not few_launches:
        plain(optimiser)
    for step in range(1, STEPS + 1):
        loss = sum(model.loss(images.double(), labels, Counts.of(labels)).values())
        loss.backward()
        losses.append(loss.item())
        if few_launches:
            clip_gradients(optimiser, config.clip)
            optimiser.step()
            average.update(model, step)
        else:
            nn.utils.clip_grad_norm_(model.parameters(), config.clip, foreach=False)
            optimiser.step()
            for name, x in moving(model).items():
                average.state[name].lerp_(x.detach(), 1 - 0.9)
        optimiser.zero_grad()
    return losses, average.state


@pytest.mark.parametrize('name', ['adamw', 'sgd'])
def test_fused_steps_learn_what_plain_ones_learn(name: str) -> None:
    config = OptimiserConfig(name=name, rate=1e-3, clip=1.0)
    losses, average = learnt(config, few_launches=True)
    expected, plainly = learnt(config, few_launches=False)
    assert losses[-1] < losses[0]
    assert losses == pytest.approx(expected, rel=1e-6)
    assert average.keys() == plainly.keys()
    for key, x in average.items():
        torch.testing.assert_close(x, plainly[key], atol=1e-6, rtol=1e-6, msg=key)


def test_the_norm_is_that_of_torch_and_gradients_stay_without_a_limit() -> None:
    parameters = [nn.Parameter(torch.ones(3)), nn.Parameter(torch.ones(2, 2))]
    parameters[0].grad, parameters[1].grad = torch.full((3,), 2.0), torch.ones(2, 2)
    optimiser = torch.optim.SGD(parameters, lr=1)
    assert clip_gradients(optimiser, None).item() == pytest.approx(4)
    assert parameters[0].grad.tolist() == [2, 2, 2]
    assert clip_gradients(optimiser, 1.0).item() == pytest.approx(4)
    assert parameters[0].grad.tolist() == pytest.approx([0.5] * 3)
    parameters[0].grad = None
    assert clip_gradients(optimiser, None).item() == pytest.approx(0.5)


def test_classes_of_patches_are_counted_together() -> None:
    labels = torch.randint(0, 5, (3, 12, 18), generator=torch.Generator().manual_seed(0))
    labels[0, :4] = 255
    patches = split_patches(labels.unsqueeze(1), 3).flatten(1)
    singly = torch.stack([patch.bincount(minlength=256) for patch in patches]).argmax(1)
    assert torch.equal(patch_classes(labels, 3), singly)
    assert 255 in singly.tolist()


def test_a_cpu_computes_as_written_in_float32() -> None:
    cpu = HardwareConfig(accelerator='cpu')
    assert cpu.computes_in == '32-true'
    assert not cpu.leaves_changes
    assert HardwareConfig(accelerator='cpu', precision='bf16-mixed').computes_in == 'bf16-mixed'
    assert HardwareConfig(accelerator='cpu', changes='device').leaves_changes


def test_compiled_blocks_are_scored_as_written() -> None:
    model = network().eval()
    assert has_batch_norms(model.encoder)
    images = torch.randint(0, 256, (1, 3, 64, 64)).float()
    with torch.no_grad():
        expected = model(images)
        compile_blocks(model.encoder)
        with as_written(model):
            assert torch.equal(model(images), expected)


def test_the_device_sees_what_the_loader_would_have_made(tmp_path: Path) -> None:
    write_frames(tmp_path)
    values = recipe(tmp_path, 'dgss', label_stride=2, batch=4)
    values['augmentation'] = {'crop': [64, 64], 'color': 'exposure'}
    seen = {}
    for name in ('loader', 'device'):
        hardware = replace(CPU, changes=name, workers=1)
        fabric = build_fabric(hardware)
        training = setup(fabric, parse(values), tmp_path, Record(tmp_path / name, True), hardware)
        raw = list(islice(batches(training.loader), 3))
        assert any(any(look) for batch in raw for look in batch.looks) == (name == 'device')
        seen[name] = [batch.on(fabric) for batch in raw]
    for ours, theirs in zip(seen['device'], seen['loader'], strict=True):
        assert ours.images.shape == (4, 3, 64, 64)
        assert ours.labels.shape == (4, 32, 32)
        assert (ours.images.int() - theirs.images.int()).abs().float().mean() < 0.3
        for name in ('labels', 'labelled', 'inside'):
            assert torch.equal(getattr(ours, name), getattr(theirs, name)), name


@pytest.mark.parametrize(('draws', 'kept'), [(7, False), (8, True)])
def test_frames_that_are_drawn_again_are_decoded_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, draws: int, kept: bool
) -> None:
    frames = [np.zeros((4, 6, 3), np.uint8)] * 4
    dataset = SimpleDataset(frames)
    assert worth_keeping([dataset], draws) is kept
    # Four frames of 96 bytes need a quarter of what is free, for each process of the machine.
    free = {'SC_AVPHYS_PAGES': 4 * 4 * 96, 'SC_PAGE_SIZE': 1}
    monkeypatch.setattr('os.sysconf', free.get)
    assert worth_keeping([dataset], draws) is kept
    monkeypatch.setenv('LOCAL_WORLD_SIZE', '2')
    assert not worth_keeping([dataset], draws)


@pytest.mark.gpu
@pytest.mark.parametrize('compiled', [True, 'graphs'])
def test_compiled_steps_learn_the_same_on_a_gpu(compiled: bool | str) -> None:
    images = torch.randint(0, 256, (4, 3, 128, 128), device='cuda').float()
    labels = torch.arange(4, device='cuda').repeat_interleave(16).repeat(4, 64, 1)
    found = {}
    for mode in (False, compiled):
        model = network().cuda().train()
        if mode:
            compile_blocks(model.encoder, graphs=mode == 'graphs')
        optimiser, found[mode] = build_optimiser(OptimiserConfig(rate=1e-3), model), []
        for _ in range(20):
            loss = sum(model.loss(images, labels, Counts.of(labels)).values())
            loss.backward()
            optimiser.step()
            optimiser.zero_grad()
            found[mode].append(loss.detach().clone())
        found[mode] = torch.stack(found[mode]).tolist()
    assert found[compiled] == pytest.approx(found[False], rel=2e-2)
