"""Tests of every head, inherited by one class per head."""

import pytest
import torch
from head_contract import CLASSES, PYRAMID, HeadContract

from dgss_core.errors import DgssError
from dgss_core.networks.heads.deeplab import DeepLabHead
from dgss_core.networks.heads.light_conv import LightConvHead
from dgss_core.networks.heads.linear import LinearHead
from dgss_core.networks.heads.mask2former import Mask2FormerHead
from dgss_core.networks.heads.mask2former.text_classifier import TextClassifier, geometric_ensemble
from dgss_core.networks.heads.vit_conv import VitConvHead
from dgss_core.networks.losses.set_criterion import SetCriterion
from dgss_core.networks.undrawn import Undrawn

PLAIN = ((16, 16), (16, 16))


class TestLightConvHead(HeadContract):
    golden = (1.9643, 2.258, 0.0892, 1.9159, 2.6031, -0.3165)

    def make(self):
        return LightConvHead(*PYRAMID, CLASSES, width=16)

    @pytest.mark.parametrize('stride', [8, 16, 32])
    def test_can_stop_at_a_coarser_map(self, stride):
        head = LightConvHead(*PYRAMID, CLASSES, width=16, stride=stride).eval()
        assert head(self.features())[0].shape == (CLASSES, 64 // stride, 96 // stride)

    def test_is_light(self):
        with torch.device('meta'), Undrawn():
            head = LightConvHead((24, 32, 96, 320), (4, 8, 16, 32), 19)
        assert sum(p.numel() for p in head.parameters()) == 120_595

    def test_impossible_stride(self):
        with pytest.raises(DgssError, match=r'stride 2 .* choose one of: 4, 8, 16, 32'):
            LightConvHead(*PYRAMID, CLASSES, stride=2)


class TestLinearHead(HeadContract):
    stride = 4
    golden = (1.3704, 1.6923, 0.4298, 0.7659, 0.8582, 0.6632)

    def make(self):
        return LinearHead(*PYRAMID, CLASSES, stride=4)

    def test_impossible_stride(self):
        with pytest.raises(DgssError, match='stride 64'):
            LinearHead(*PYRAMID, CLASSES, stride=64)


class TestVitConvHead(HeadContract):
    levels = PLAIN
    golden = (1.2516, 1.0246, 1.7015, 1.2555, 1.0029, 1.6938)

    def make(self):
        return VitConvHead(*PLAIN, CLASSES, width=32, groups=4)

    def test_has_the_published_size(self):
        with torch.device('meta'), Undrawn():
            head = VitConvHead((1024,) * 4, (16,) * 4, 19)
        assert sum(p.numel() for p in head.parameters()) == 6_825_491

    def test_impossible_stride(self):
        with pytest.raises(DgssError, match='choose one of: 4'):
            VitConvHead(*PLAIN, CLASSES, stride=8)
        with pytest.raises(DgssError, match='one stride that 4 divides'):
            VitConvHead(*PYRAMID, CLASSES)


class TestDeepLabHead(HeadContract):
    golden = (2.8075, 1.3799, 0.6179, 2.8556, 1.7343, 0.6134)

    def make(self):
        return DeepLabHead(*PYRAMID, CLASSES, width=16, detail=8)

    @pytest.mark.parametrize(('coarsest', 'first'), [(8, 12), (16, 6), (32, 6)])
    def test_dilations_follow_the_output_stride(self, coarsest, first):
        head = DeepLabHead((8, 8), (4, coarsest), CLASSES)
        dilations = [branch[0].dilation[0] for branch in head.pyramid.branches]
        assert dilations == [1, first, 2 * first, 3 * first]

    def test_impossible_stride(self):
        with pytest.raises(DgssError, match='finest first'):
            DeepLabHead((8, 8), (16, 16), CLASSES)


def small_mask2former(**kwargs) -> Mask2FormerHead:
    sizes = {
        'width': 16,
        'mask_width': 12,
        'queries': 6,
        'groups': 4,
        'encoder_layers': 1,
        'encoder_heads': 2,
        'encoder_hidden': 24,
        'decoder_layers': 3,
        'decoder_heads': 4,
        'decoder_hidden': 24,
        'criterion': SetCriterion(points=128),
    }
    return Mask2FormerHead(*PYRAMID, CLASSES, **{**sizes, **kwargs})


class TestMask2FormerHead(HeadContract):
    golden = (0.8742, 1.6732, 0.7349, 0.8748, 1.6737, 0.7344)

    def make(self):
        return small_mask2former()

    @pytest.mark.parametrize(('linked', 'count'), [(True, 20_579_796), (False, 20_565_204)])
    def test_has_the_published_size(self, linked, count):
        with torch.device('meta'), Undrawn():
            head = Mask2FormerHead((1024,) * 4, (4, 8, 16, 32), 19, linked=linked)
        assert sum(p.numel() for p in head.parameters()) == count

    def test_queries_from_outside_learn(self):
        head = small_mask2former(linked=True)
        queries = torch.randn(9, 16, requires_grad=True)
        predictions = head.predict(self.features(), queries)
        assert [tuple(p.classes.shape) for p in predictions] == [(2, 9, CLASSES + 1)] * 4
        losses = head.loss(self.features(), torch.ones(2, 64, 96, dtype=torch.long), queries)
        sum(losses.values()).backward()
        assert queries.grad.abs().sum() > 0
        with pytest.raises(ValueError, match='needs queries from outside'):
            head(self.features())

    def test_impossible_stride(self):
        with pytest.raises(DgssError, match='stride grows'):
            Mask2FormerHead(*PLAIN, CLASSES)


class TestTextMask2FormerHead(HeadContract):
    prompts = (2, 1, 3, 1, 2)
    golden = (0.968, 1.1928, 0.7849, 0.968, 1.1928, 0.785)

    def make(self):
        text = torch.sin(torch.arange(9 * 7.0)).reshape(9, 7)
        return small_mask2former(classifier=TextClassifier(16, 12, text, self.prompts))

    def test_classes_can_be_renamed_without_training(self):
        head = self.head().eval()
        classifier = TextClassifier(16, 12, torch.randn(4, 7), (1, 1, 2))
        other = small_mask2former(classifier=classifier).eval()
        other.load_state_dict(head.state_dict())
        assert other(self.features()).shape[1] == 3

    def test_every_prompt_needs_its_embedding(self):
        with pytest.raises(DgssError, match='4 embeddings for 5 prompts'):
            TextClassifier(16, 12, torch.randn(4, 7), (2, 3))


def test_a_synonym_counts_as_its_class():
    torch.manual_seed(0)
    text = torch.randn(3, 7)
    both = TextClassifier(4, 4, text, (2, 1))
    one = TextClassifier(4, 4, text[1:], (1, 1))
    one.load_state_dict(both.state_dict())
    inputs = (torch.randn(1, 5, 4), torch.randn(1, 5, 8, 8), torch.randn(1, 4, 8, 8))
    scores, fewer = both(*inputs), one(*inputs)
    assert (scores[..., 0] >= fewer[..., 0] - 1e-6).all()
    assert torch.allclose(scores[..., 1:], fewer[..., 1:], atol=1e-6)


def test_geometric_ensemble_trusts_clip_more_for_unseen_classes():
    learned = torch.tensor([[[2.0, 0.0, -1.0, 0.5]]])
    clip = torch.tensor([[[0.0, 3.0, 1.0]]])
    seen = torch.tensor([True, False, True])
    mixed = geometric_ensemble(learned, clip, seen).exp()
    p, q = learned[..., :3].softmax(-1), clip.softmax(-1)
    by_hand = torch.tensor(
        [p[0, 0, c] ** (1 - a) * q[0, 0, c] ** a for c, a in enumerate((0.4, 0.8, 0.4))]
    )
    none = learned.softmax(-1)[0, 0, 3]
    assert torch.allclose(mixed[0, 0, :3], by_hand / by_hand.sum() * (1 - none), atol=1e-6)
    assert mixed[0, 0, 3] == pytest.approx(none.item(), abs=1e-6)
    only_head = geometric_ensemble(learned, clip, seen, alpha=0.0, beta=0.0).exp()
    assert torch.allclose(only_head, learned.softmax(-1), atol=1e-6)
