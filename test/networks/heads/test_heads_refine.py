"""The refinement of VFMSeg, alone and in two-scale inference."""

import pytest
import torch

from dgss_core.errors import DgssError
from dgss_core.networks.heads.refine import RefinementHead
from dgss_core.networks.inference import refine_unsure
from dgss_core.networks.resize import resize


def make() -> RefinementHead:
    torch.manual_seed(0)
    return RefinementHead((8, 8), (16, 16), 3, width=16, blocks=2, heads=2, head_width=8, groups=4)


def features(height: int = 4, width: int = 6) -> list[torch.Tensor]:
    return [torch.randn(2, 8, height, width) for _ in range(2)]


@pytest.mark.parametrize('size', [(4, 6), (5, 3)])
def test_scores_have_the_declared_stride(size):
    head = make().eval()
    scores = head(features(*size), torch.randn(2, 3, 7, 9))
    assert head.stride == 4
    assert scores.shape == (2, 3, 4 * size[0], 4 * size[1])


def test_scores_depend_on_the_coarse_scores():
    head, maps = make().eval(), features()
    assert not torch.allclose(
        head(maps, torch.zeros(2, 3, 16, 24)), head(maps, torch.randn(2, 3, 16, 24) * 5)
    )


def test_learns_to_repeat_coarse_scores():
    head, maps = make(), features()
    labels = (torch.arange(96) // 32).expand(2, 64, 96)
    coarse = 4 * torch.nn.functional.one_hot(labels, 3).permute(0, 3, 1, 2).float()
    optimiser = torch.optim.AdamW(head.parameters(), 1e-2)
    history = []
    for _ in range(60):
        loss = head.loss(maps, coarse, labels)['refined_ce']
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        history.append(loss.item())
    assert history[-1] < history[0] / 5
    assert head.hidden.grad.abs().sum() > 0


def test_exports_as_one_graph():
    head, maps, coarse = make().eval(), features(), torch.randn(2, 3, 16, 24)
    program = torch.export.export(head, (maps, coarse))
    assert torch.allclose(program.module()(maps, coarse), head(maps, coarse), atol=1e-5)


def test_refines_in_two_scale_inference():
    head = make().eval()
    pool = torch.nn.AvgPool2d(16)
    images = torch.rand(1, 3, 64, 128)

    def encode(x):
        return [pool(x).repeat(1, 3, 1, 1)[:, :8]] * 2

    def coarse(x):
        return resize(x, (8, 16))

    def fine(window, known):
        return head(encode(window), known)

    scores = refine_unsure(coarse, fine, images, (32, 64), (32, 32), (32, 32), multiple=16)
    expected = head(
        encode(images[..., :32, :32]),
        resize(coarse(resize(images, (32, 64))), (64, 128))[..., :32, :32],
    )
    assert scores.shape == (1, 3, 64, 128)
    assert torch.allclose(scores[..., :32, :32], resize(expected, (32, 32)), atol=1e-5)


def test_a_pyramid_is_refused():
    with pytest.raises(DgssError, match='one stride that 4 divides'):
        RefinementHead((8, 8), (8, 16), 3)
