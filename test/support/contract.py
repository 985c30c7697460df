"""Tests of every segmentation model, inherited by the tests of systems and of pairs."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from dgss_core.networks.systems import SegmentationModel


def fill(model: SegmentationModel) -> SegmentationModel:
    """Set every weight by a formula, so that golden scores need no stored tensors; eval mode.

    The waves have no period, and norms scale by about 1. Otherwise the scores would hardly depend
    on the image, and the tests would not detect a broken encoder.
    """
    with torch.no_grad():
        for index, (name, parameter) in enumerate(model.named_parameters()):
            k = torch.arange(parameter.numel(), dtype=torch.float64)
            wave = (0.7 * k * k + k + index).sin().view_as(parameter)
            if parameter.ndim > 1:
                parameter.copy_(wave * (3 / parameter[0].numel()) ** 0.5)
            else:
                parameter.copy_(0.1 * wave + (0 if name.endswith('bias') else 1))
    return model.eval()


def images(height: int = 64, width: int = 96) -> torch.Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.rand(2, 3, height, width, generator=generator) * 255


def labels(height: int = 64, width: int = 96) -> torch.Tensor:
    ids = (torch.arange(height)[:, None] // 16 + torch.arange(width) // 16) % 19
    ids[:4] = 255
    return ids.expand(2, -1, -1)


def sampled_scores(model: SegmentationModel) -> torch.Tensor:
    """Three scores from different places, and the standard deviation of all scores."""
    with torch.no_grad():
        scores = model(images())
    picked = scores.flatten()[17 :: scores.numel() // 3][:3]
    return torch.cat((picked, scores.std().view(1)))


class ModelContract:
    """A subclass parametrizes `name` and defines `build` and the golden scores."""

    golden: dict[str, tuple[float, float, float, float]]

    def build(self, name: str) -> SegmentationModel:
        raise AssertionError('a subclass builds its models here')

    @pytest.fixture(autouse=True)
    def one_thread(self):
        torch.set_num_threads(1)
        torch.manual_seed(0)

    def test_scores_at_any_size(self, name):
        model = self.build(name).eval()
        with torch.no_grad():
            scores = model(images())
            cells = [-(-side // model.head.stride) for side in (64, 96)]
            # Maps of a patch of 14 are slightly finer than their nominal stride.
            assert all(
                0 <= ours - cell <= 4 for ours, cell in zip(scores.shape[2:], cells, strict=True)
            )
            assert scores.shape[:2] == (2, 19)
            assert scores.isfinite().all()
            assert model.at_size(images()).shape == (2, 19, 64, 96)
            odd = images(61, 90)
            assert model.at_size(odd).shape == (2, 19, 61, 90)
            assert model.at_size(odd, (30, 40)).shape == (2, 19, 30, 40)

    def test_the_loss_reaches_exactly_what_is_trained(self, name):
        model = self.build(name).train()
        loss = sum(model.loss(images(), labels()).values())
        loss.backward()
        assert loss.item() > 0
        for key, parameter in model.named_parameters():
            assert (parameter.grad is not None) == parameter.requires_grad, key

    def test_frozen_norms_keep_their_statistics(self, name):
        model = self.build(name).train()
        norms = [m for m in model.encoder.modules() if isinstance(m, nn.BatchNorm2d)]
        before = [norm.running_mean.clone() for norm in norms]
        model.loss(images(), labels())
        for norm, mean in zip(norms, before, strict=True):
            assert norm.training == norm.weight.requires_grad
            assert torch.equal(norm.running_mean, mean) != norm.training

    def test_saved_weights_give_equal_scores(self, name, tmp_path: Path):
        model, other = fill(self.build(name)), self.build(name).eval()
        save_file(model.state_dict(), tmp_path / 'weights.safetensors')
        x = images()
        with torch.no_grad():
            assert not torch.equal(model(x), other(x))
            other.load_state_dict(load_file(tmp_path / 'weights.safetensors'))
            assert torch.equal(model(x), other(x))

    def test_golden_scores(self, name):
        expected = torch.tensor(self.golden[name])
        torch.testing.assert_close(
            sampled_scores(fill(self.build(name))), expected, atol=5e-4, rtol=1e-3
        )

    def test_scores_depend_on_the_image_and_on_the_first_and_middle_weights(self, name):
        """The tests above detect a fault anywhere in the encoder."""
        model, x = fill(self.build(name)), images()
        with torch.no_grad():
            scores = model(x)
            assert (model(255 - x) - scores).std() > 0.05 * scores.std()
            weights = [p for p in model.encoder.parameters() if p.ndim > 1]
            for weight in (weights[0], weights[len(weights) // 2]):
                before = weight.clone()
                weight.mul_(1.05)
                assert (model(x) - scores).abs().max() > 1e-3 * scores.std()
                weight.copy_(before)


def check_export(model: SegmentationModel) -> None:
    """The model is one graph, for torch.export, with the same scores."""
    x = images(61, 90)
    program = torch.export.export(fill(model), (x,))
    with torch.no_grad():
        torch.testing.assert_close(program.module()(x), model(x), atol=1e-4, rtol=1e-4)
