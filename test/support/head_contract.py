"""The contract of every head, inherited by one test class per head."""

import math

import pytest
import torch

from dgss_core.errors import DgssError
from dgss_core.networks.heads.head import Head

CLASSES = 5
PYRAMID = ((8, 12, 16, 24), (4, 8, 16, 32))


def fill(head: torch.nn.Module) -> None:
    """Weights from a formula, so that golden numbers need no stored tensors."""
    with torch.no_grad():
        for index, weight in enumerate(head.parameters()):
            places = torch.arange(weight.numel(), dtype=torch.float64)
            wave = torch.sin(0.7 * places + index).reshape(weight.shape)
            spread = 1 / math.sqrt(max(weight[0].numel(), 1)) if weight.ndim > 1 else 0.3
            weight.copy_(spread * wave + (1 if weight.ndim == 1 else 0))


def maps(channels, strides, height: int, width: int, batch: int = 2) -> list[torch.Tensor]:
    """Feature maps of an image of height x width, from a formula."""
    features = []
    for index, (count, stride) in enumerate(zip(channels, strides, strict=True)):
        shape = (batch, count, -(-height // stride), -(-width // stride))
        places = torch.arange(math.prod(shape), dtype=torch.float64)
        features.append(torch.sin(0.13 * places + index).reshape(shape).float())
    return features


class HeadContract:
    """Tests of every head. A subclass defines `make`, the levels and the golden scores."""

    levels = PYRAMID
    stride = 4
    golden: tuple[float, ...]

    def make(self) -> Head:
        raise AssertionError('a subclass builds its head here')

    def features(self, height=64, width=96, batch=2):
        return maps(*self.levels, height, width, batch)

    def head(self) -> Head:
        torch.manual_seed(0)
        return self.make()

    @pytest.mark.parametrize(('height', 'width'), [(64, 96), (96, 64), (67, 101), (33, 47)])
    def test_scores_have_the_declared_stride_at_any_size(self, height, width):
        head = self.head().eval()
        scores = head(self.features(height, width))
        coarsest = max(self.levels[1][0], head.stride)
        cells = [-(-side // coarsest) * coarsest // head.stride for side in (height, width)]
        assert head.stride == self.stride
        assert scores.shape == (2, CLASSES, *cells)
        assert head.at_size(self.features(height, width), (height, width)).shape[2:] == (
            height,
            width,
        )
        assert torch.isfinite(scores).all()

    def test_probabilities_sum_to_one(self):
        head = self.head().eval()
        probabilities = head.to_probabilities(head(self.features()))
        assert probabilities.min() >= 0
        assert torch.allclose(probabilities.sum(1), torch.ones(()), atol=1e-5)

    def test_every_weight_learns(self):
        head = self.head().train()
        labels = torch.arange(2 * 64 * 96).reshape(2, 64, 96) // 700 % (CLASSES + 1)
        labels[labels == CLASSES] = 255
        losses = head.loss(self.features(), labels)
        sum(losses.values()).backward()
        assert all(torch.isfinite(loss) and loss > 0 for loss in losses.values())
        idle = [name for name, p in head.named_parameters() if p.grad is None]
        assert idle == []

    def test_a_few_steps_lower_the_loss(self):
        head = self.head().train()
        optimiser = torch.optim.AdamW(head.parameters(), 1e-2)
        labels = (torch.arange(64 * 96).reshape(1, 64, 96) % 96 // 32).expand(2, -1, -1)
        history = []
        for _ in range(12):
            optimiser.zero_grad()
            loss = sum(head.loss(self.features(), labels).values())
            loss.backward()
            optimiser.step()
            history.append(loss.item())
        assert history[-1] < 0.9 * history[0]

    def test_images_without_labels_give_finite_losses(self):
        head = self.head().train()
        losses = head.loss(self.features(), torch.full((2, 64, 96), 255))
        assert all(torch.isfinite(loss) for loss in losses.values())
        sum(losses.values()).backward()

    def test_images_do_not_mix_in_evaluation(self):
        head = self.head().eval()
        both = self.features()
        alone = head([x[1:] for x in both])
        assert torch.allclose(head(both)[1:], alone, atol=1e-5)

    def test_saved_weights_give_the_same_scores(self, tmp_path):
        head = self.head().eval()
        torch.save(head.state_dict(), tmp_path / 'head.pt')
        torch.manual_seed(1)
        other = self.make().eval()
        other.load_state_dict(torch.load(tmp_path / 'head.pt', weights_only=True))
        assert torch.equal(head(self.features()), other(self.features()))

    def test_exports_as_one_static_graph(self):
        head = self.head().eval()
        features = self.features(67, 101, batch=1)
        program = torch.export.export(head, (features,))
        assert torch.allclose(program.module()(features), head(features), atol=1e-5)

    def test_golden_scores(self):
        head = self.head().eval()
        fill(head)
        scores = head(self.features())
        picked = scores.flatten()[:: scores.numel() // len(self.golden)][: len(self.golden)]
        assert picked.tolist() == pytest.approx(self.golden, abs=2e-4)

    def test_levels_without_strides_are_refused(self):
        with pytest.raises(DgssError, match='one stride for each feature map'):
            type(self.head())(self.levels[0], (*self.levels[1], self.levels[1][-1]), CLASSES)
