"""Scores of an image that is not a multiple of the patch lie where the image shows them."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dgss_core.export.network import DeployedNetwork
from dgss_core.labels import Label, LabelSet
from dgss_core.networks.encoders.encoder import Encoder
from dgss_core.networks.heads.head import PixelHead
from dgss_core.networks.resize import resize_part
from dgss_core.networks.systems import SegmentationModel

PATCH = 16
TWO = LabelSet('two', (Label(0, 'dark', (0, 0, 0)), Label(1, 'bright', (255, 255, 255))))


class Means(Encoder):
    """The mean of every patch."""

    def __init__(self, pad: bool = True) -> None:
        super().__init__((3,), (PATCH,), PATCH, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0), pad)

    def maps(self, x: Tensor) -> list[Tensor]:
        return [F.avg_pool2d(x, PATCH)]

    def trunk(self) -> list[list[nn.Module]]:
        return []


class Bright(PixelHead):
    """Class 1 for bright patches."""

    def forward(self, features: list[Tensor]) -> Tensor:
        bright = features[0][:, :1] - 0.5
        return 20 * torch.cat((-bright, bright), 1)


def model(pad: bool = True) -> SegmentationModel:
    return SegmentationModel(Means(pad), Bright((3,), (PATCH,), 2, PATCH), TWO).eval()


def ramp(height: int, width: int) -> Tensor:
    """An image whose brightness, 0 to 255, grows downwards by one grey level a row."""
    return (torch.arange(height) + 0.5).view(1, 1, -1, 1).expand(1, 3, -1, width)


@pytest.mark.parametrize('height', [200, 198, 193])
def test_scores_do_not_drift_towards_the_border(height: int) -> None:
    scores = model().at_size(ramp(height, 40))[0, 1, :, 0] / 20
    rows = (scores + 0.5) * 255
    middle = slice(PATCH, 12 * PATCH - PATCH // 2)
    assert (rows - ramp(height, 1)[0, 0, :, 0])[middle].abs().max() < 0.1


def test_without_padding_the_map_is_stretched_as_published() -> None:
    images = ramp(200, 40)
    scores = model(pad=False)(images)
    stretched = F.interpolate(scores, (200, 40), mode='bilinear')
    torch.testing.assert_close(model(pad=False).at_size(images), stretched)


@pytest.mark.parametrize('stride', [1, 2])
def test_the_loss_compares_the_same_places(stride: int) -> None:
    """Labels that are cut where the scores cross over cost least."""
    images = ramp(200, 40)
    rows = torch.arange(200)[stride // 2 :: stride].view(1, -1, 1).expand(1, -1, 40 // stride)
    costs = {
        border: model().loss(images, (rows >= border).long())['ce'].item()
        for border in range(118, 137, 2)
    }
    assert min(costs, key=costs.__getitem__) == 128


def test_the_exported_network_cuts_the_padding_off() -> None:
    images = ramp(200, 40).permute(0, 2, 3, 1).to(torch.uint8)
    mask = DeployedNetwork(model())(images).mask[0, :, 0]
    assert mask.shape == (200,)
    border = int((mask == 0).sum())
    assert abs(border - 128) <= 2


def test_a_part_of_a_map_is_what_its_pixels_show() -> None:
    fine = ramp(20, 12)[:, :1]
    found = resize_part(fine, (16, 6), (0.8, 0.5))
    torch.testing.assert_close(found, fine[:, :, :16, :6])
