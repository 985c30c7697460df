"""A step with few launches learns what the plain forms of its parts learn."""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import replace
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_training import CPU, RECIPES, parse, recipe, write_frames
from torch import Tensor, nn

from dgss_core.datasets import Sample
from dgss_core.labels import LabelSet
from dgss_core.networks.compilation import MANY, as_written
from dgss_core.networks.losses.counts import Counts
from dgss_core.networks.systems import SegmentationModel, build_system
from dgss_core.runtime.key import Device
from dgss_core.training.average import Average, AverageConfig, moving
from dgss_core.training.compilation import Form, compile_blocks, compiling, has_batch_norms
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


@pytest.mark.parametrize(
    ('instructions', 'precision'),
    [('avx2 avx512f', '32-true'), ('avx512_bf16', 'bf16-mixed'), ('amx_bf16', 'bf16-mixed')],
)
def test_a_cpu_computes_as_written_in_what_it_has_instructions_for(
    monkeypatch: pytest.MonkeyPatch, instructions: str, precision: str
) -> None:
    device = Device('a CPU', f'x86_64 {instructions}')
    monkeypatch.setattr('dgss_core.training.config.processor', lambda: device)
    cpu = HardwareConfig(accelerator='cpu')
    assert cpu.computes_in == precision
    assert not cpu.leaves_changes
    assert HardwareConfig(accelerator='cpu', precision='32-true').computes_in == '32-true'
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


def test_a_form_fits_the_encoder_the_steps_and_the_strategy(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr('torch.cuda.is_available', lambda: True)
    model, hardware = network(), HardwareConfig()
    assert Form.of(model, 10_000, hardware) == (True, True)
    assert Form.of(model, 9_999, hardware) == (False, True)
    assert Form.of(model, 10_000, replace(hardware, strategy='fsdp')) == (True, False)
    assert Form.of(model, 10_000, HardwareConfig('cpu')) == (False, False)
    asked = HardwareConfig('cpu', compile='graphs', channels_last=True)
    assert Form.of(model, 1, asked) == ('graphs', True)
    vltseg = RECIPES['vltseg']
    plain_vit = build_system(
        vltseg['system'], weights=None, encoder_options=vltseg['encoder_options'],
        **vltseg['options'],
    )  # fmt: skip
    assert any(isinstance(module, nn.BatchNorm2d) for module in plain_vit.encoder.modules())
    assert Form.of(plain_vit, 10_000, hardware) == (False, False)


def test_graphs_leave_out_blocks_that_learn_nothing() -> None:
    encoder = network().encoder
    first, second = encoder.trunk()[1], encoder.trunk()[2]
    nn.ModuleList(first).requires_grad_(False)
    compile_blocks(encoder, graphs=True)
    assert [block._compiled_call_impl for block in first] == [None] * len(first)
    assert all(block._compiled_call_impl is not None for block in second)
    assert encoder.first_stage()._compiled_call_impl is None


@pytest.mark.parametrize('mode', [None, True, False])
def test_settings_of_the_compiler_end_with_a_training(mode: bool | None) -> None:
    config = torch._dynamo.config
    before = config.suppress_errors, config.cache_size_limit
    with suppress(KeyboardInterrupt), compiling(HardwareConfig(compile=mode)):
        assert config.suppress_errors is (mode is None)
        assert config.cache_size_limit == (before[1] if mode is False else MANY)
        raise KeyboardInterrupt
    assert (config.suppress_errors, config.cache_size_limit) == before


def test_every_block_is_compiled() -> None:
    """PyTorch keeps eight compilations of one function by itself."""
    model, images = network().eval(), torch.rand(1, 3, 32, 32)
    blocks = [block for stage in model.encoder.trunk() for block in stage][1:]
    seen = []
    for block in blocks:
        block.compile(dynamic=False, backend=lambda graph, _: seen.append(graph) or graph)
    with torch.no_grad(), compiling(HardwareConfig(compile=True)):
        model(images)
    kinds = {str(block) + str(getattr(block, 'residual', '')) for block in blocks}
    assert len(seen) >= len(kinds) > 8


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
    monkeypatch: pytest.MonkeyPatch, draws: int, kept: bool
) -> None:
    frames = [np.zeros((4, 6, 3), np.uint8)] * 4
    dataset = SimpleDataset(frames)
    assert worth_keeping([dataset], draws) is kept
    # Four frames of 96 bytes need a quarter of what is free, for each process of the machine.
    monkeypatch.setattr('dgss_core.training.data.free_memory', lambda: 4 * 4 * 96)
    assert worth_keeping([dataset], draws) is kept
    monkeypatch.setenv('LOCAL_WORLD_SIZE', '2')
    assert not worth_keeping([dataset], draws)


def test_reading_into_memory_is_said_and_recorded(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_frames(tmp_path)
    fabric, record = build_fabric(CPU), Record(tmp_path / 'run', True)
    hardware = replace(CPU, in_memory=True)
    training = setup(fabric, parse(recipe(tmp_path)), tmp_path, record, hardware)
    assert 'Reads 8 frames into memory.' in capsys.readouterr().out
    (kept,) = training.loader.dataset.frames.datasets
    assert [sample.name for sample in kept.samples] == [
        kept.dataset[index].name for index in range(len(kept))
    ]
    chosen = json.loads(record.origin.read_text().splitlines()[-1])['runs']
    assert chosen['in_memory'] is True
    assert chosen['precision'] == '32-true'


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
        with compiling(HardwareConfig(compile=mode)):
            for _ in range(20):
                loss = sum(model.loss(images, labels, Counts.of(labels)).values())
                loss.backward()
                optimiser.step()
                optimiser.zero_grad()
                found[mode].append(loss.detach().clone())
        found[mode] = torch.stack(found[mode]).tolist()
    assert found[compiled] == pytest.approx(found[False], rel=2e-2)
