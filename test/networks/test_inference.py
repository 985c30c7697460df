"""Windows, scales, flips and refinement, with models of known output."""

import pytest
import torch

from dgss_core.errors import DgssError
from dgss_core.networks.inference import (
    Inference,
    augmented,
    refine_unsure,
    slide,
    whole,
    window_starts,
    window_weight,
)
from dgss_core.networks.resize import resize


def pixelwise(images: torch.Tensor) -> torch.Tensor:
    """Scores that depend only on the pixel."""
    return torch.cat((images, -images.sum(1, keepdim=True)), dim=1)


class Recorder:
    """A model that records the shapes of its inputs."""

    def __init__(self, stride: int = 1) -> None:
        self.stride = stride
        self.shapes: list[tuple[int, ...]] = []

    def __call__(self, images: torch.Tensor) -> torch.Tensor:
        self.shapes.append(tuple(images.shape))
        assert images.shape[-2] % self.stride == images.shape[-1] % self.stride == 0
        return pixelwise(images)[..., :: self.stride, :: self.stride]


@pytest.mark.parametrize(
    ('length', 'window', 'stride', 'starts'),
    [
        (80, 64, 43, [0, 16]),
        (150, 64, 43, [0, 43, 86]),
        (64, 64, 43, [0]),
        (40, 64, 43, [0]),
        (107, 64, 43, [0, 43]),
        (2048, 512, 341, [0, 341, 682, 1023, 1364, 1536]),
    ],
)
def test_windows_end_with_the_image(length, window, stride, starts):
    assert window_starts(length, window, stride) == starts


@pytest.mark.parametrize('weighting', ['uniform', 'hann'])
@pytest.mark.parametrize('size', [(80, 150), (64, 64), (40, 90), (33, 20)])
def test_sliding_over_a_pixelwise_model_changes_nothing(weighting, size):
    images = torch.rand(2, 3, *size)
    scores = slide(pixelwise, images, (64, 64), (43, 43), weighting, batch=3)
    assert torch.allclose(scores, pixelwise(images), atol=1e-6)


def test_overlaps_are_averaged_with_the_published_counts():
    class Counter:
        calls = 0

        def __call__(self, images):
            out = images.new_zeros(len(images), 1, *images.shape[-2:])
            for window in out:
                self.calls += 1
                window += self.calls
            return out

    scores = slide(Counter(), torch.zeros(1, 3, 6, 10), (6, 6), (4, 4), batch=1)
    assert scores[0, 0, 0].tolist() == [1, 1, 1, 1, 1.5, 1.5, 2, 2, 2, 2]
    faded = slide(Counter(), torch.zeros(1, 3, 6, 10), (6, 6), (4, 4), 'hann', batch=2)
    assert 1 < faded[0, 0, 0, 4] < 1.5 < faded[0, 0, 0, 5] < 2


def test_windows_are_sized_by_themselves_and_batched():
    model = Recorder(stride=8)
    images = torch.rand(2, 3, 50, 70)
    scores = slide(model, images, (32, 44), (20, 20), batch=5, multiple=8)
    assert scores.shape == (2, 4, 50, 70)
    assert model.shapes == [(5, 3, 32, 48), (5, 3, 32, 48), (2, 3, 32, 48)]


@pytest.mark.parametrize('batch', [1, 2, 7])
def test_the_batch_of_windows_does_not_matter(batch):
    images = torch.rand(2, 3, 30, 41)

    def model(x):
        return resize(x, (4, 4)) + x.mean((2, 3), keepdim=True)

    one = slide(model, images, (16, 16), (10, 10), batch=64)
    assert torch.allclose(slide(model, images, (16, 16), (10, 10), batch=batch), one, atol=1e-6)


def test_sizes_the_patch_does_not_divide_are_padded_and_cut_back():
    model = Recorder(stride=14)
    images = torch.rand(1, 3, 50, 71)
    scores = whole(model, images, multiple=14)
    assert model.shapes == [(1, 3, 56, 84)]
    assert scores.shape == (1, 4, 50, 71)
    assert torch.equal(whole(pixelwise, images, multiple=14), pixelwise(images))


def test_mirrored_and_scaled_scores_are_mapped_back_to_the_image():
    ramp = torch.linspace(0, 1, 40).expand(1, 3, 24, 40).clone()
    ramp[:, 1] = torch.linspace(0, 1, 24)[:, None]
    scores = augmented(pixelwise, ramp, (0.5, 1.0, 1.5), flip=True)
    assert torch.allclose(scores, pixelwise(ramp), atol=0.03)

    def left_only(x):
        return torch.where(torch.arange(x.shape[-1]) < x.shape[-1] // 2, 1.0, 0.0).expand_as(x)

    assert torch.allclose(augmented(left_only, ramp, flip=True), torch.full_like(ramp, 0.5))


def test_famix_averages_the_logits_of_both_scales():
    images = torch.rand(1, 3, 24, 40)
    scale = torch.nn.functional.interpolate(images, (12, 20), mode='bilinear', align_corners=True)
    expected = (pixelwise(images) + resize(pixelwise(scale), (24, 40), True)) / 2
    ensemble = Inference(ratios=(1.0, 0.5), align_corners=True)
    assert torch.allclose(ensemble(pixelwise, images), expected, atol=1e-6)
    # The way there and back moves nothing.
    ramp = torch.linspace(0, 1, 40).expand(1, 3, 24, 40)
    small = Inference(ratios=(0.5,), align_corners=True)
    assert torch.allclose(small(lambda x: x, ramp), ramp, atol=1e-5)


def test_probabilities_are_averaged_on_request():
    images = torch.rand(1, 3, 20, 20) * 10
    plan = Inference(window=(12, 12), ratios=(1.0, 2.0), flip=True)
    scores = plan(pixelwise, images, activate=lambda s: s.softmax(1))
    assert torch.allclose(scores.sum(1), torch.ones(()), atol=1e-5)
    assert not torch.allclose(plan(pixelwise, images).sum(1), torch.ones(()), atol=0.1)
    assert not scores.requires_grad


def test_only_unsure_windows_are_refined():
    images = torch.zeros(1, 3, 32, 64)
    images[:, 0, :, :32] = 50.0
    seen = []

    def fine(crops, coarse):
        assert coarse.shape == (len(crops), 4, *crops.shape[-2:])
        seen.append(len(crops))
        return torch.full_like(coarse, 7.0)

    scores = refine_unsure(pixelwise, fine, images, (16, 32), (32, 32), (32, 32))
    assert seen == [1]
    assert torch.all(scores[..., 32:] == 7)
    assert torch.allclose(scores[..., :30], pixelwise(images)[..., :30], atol=1e-4)
    seen.clear()
    refine_unsure(pixelwise, fine, images, (16, 32), (32, 32), (32, 32), share=0.0)
    assert seen == []
    refine_unsure(pixelwise, fine, images, (16, 32), (32, 32), (16, 16), certain=1.0, batch=2)
    assert seen == [2, 1]


def test_hann_weights_fall_to_the_border_but_stay_above_zero():
    weight = window_weight((8, 6), 'hann', torch.zeros(1))
    assert weight.shape == (8, 6)
    assert weight.min() > 0
    assert weight.max() == weight[3:5, 2:4].max()
    assert torch.allclose(weight, weight.flip(0).flip(1))


@pytest.mark.parametrize(
    ('call', 'said'),
    [
        (lambda x: slide(pixelwise, x, (8, 8), (9, 8)), 'steps of 9x8'),
        (lambda x: slide(pixelwise, x, (8, 8), (0, 8)), 'from 1 up to the window'),
        (lambda x: slide(pixelwise, x, (8, 8), (8, 8), 'cosine'), "'uniform' or 'hann'"),
        (lambda x: augmented(pixelwise, x, ()), 'above zero'),
        (lambda x: augmented(pixelwise, x, (1.0, 0.0)), 'above zero'),
    ],
)
def test_impossible_plans_are_refused(call, said):
    with pytest.raises(DgssError, match=said):
        call(torch.rand(1, 3, 16, 16))
