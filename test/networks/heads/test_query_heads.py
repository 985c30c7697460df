"""The heads in the last blocks of a ViT: the tests of every head, and their own."""

import pytest
import torch
from head_contract import CLASSES, PYRAMID, HeadContract

from dgss_core.errors import DgssError
from dgss_core.networks.encoders.positions import Grid
from dgss_core.networks.encoders.vit import Attention, Block, Mlp
from dgss_core.networks.encoders.vits import dinov2, dinov3, eva02
from dgss_core.networks.heads.eomt import EomtHead, split_off_head, take_last_blocks
from dgss_core.networks.heads.query import QueryHead
from dgss_core.networks.losses.set_criterion import SetCriterion
from dgss_core.networks.undrawn import Undrawn

PLAIN = ((16, 16), (16, 16))


class TestEomtHead(HeadContract):
    levels = ((16,), (16,))
    golden = (0.6734, 1.1007, 0.767, 0.6734, 1.101, 0.7667)

    def make(self):
        blocks = [Block(16, Attention(16, 2), Mlp(16, 32, torch.nn.GELU())) for _ in range(2)]
        criterion = SetCriterion(points=128)
        return EomtHead(*self.levels, CLASSES, blocks, queries=6, criterion=criterion)

    def test_evaluation_needs_no_masks(self):
        head = self.head().train()
        assert len(head.predict(self.features())) == 3
        assert len(head.eval().predict(self.features())) == 1

    def test_a_fully_annealed_head_trains_as_it_evaluates(self):
        head = self.head()
        head.anneal(1.0)
        trained = head.train().predict(self.features())[-1]
        evaluated = head.eval().predict(self.features())[-1]
        assert torch.allclose(trained.masks, evaluated.masks, atol=1e-5)
        head.anneal(0.0)
        masked = head.train().predict(self.features())[-1]
        assert not torch.allclose(masked.masks, evaluated.masks, atol=1e-3)

    def test_masking_is_removed_block_by_block(self):
        head = self.head()
        shares = []
        for progress in (0.0, 0.25, 0.375, 0.5, 0.75, 1.0):
            head.anneal(progress)
            shares.append([round(share, 3) for share in head.masked_share.tolist()])
        half = round(0.5**0.9, 3)
        assert shares == [[1, 1], [1, 1], [half, 1], [0, 1], [0, 0], [0, 0]]

    def test_a_masked_query_sees_its_own_patches_only(self):
        head = self.head()
        masks = -torch.ones(1, 6, 8, 8)
        masks[:, :, :4] = 1
        allowed = head.allowed(masks, Grid(4, 4), torch.tensor(1.0), 22)[0, 0]
        assert allowed[6:].all()
        assert allowed[:6, :6].all()
        assert allowed[:6, 6:].reshape(6, 4, 4)[:, :2].all()
        assert not allowed[:6, 6:].reshape(6, 4, 4)[:, 2:].any()
        assert head.allowed(masks, Grid(4, 4), torch.tensor(0.0), 22).all()

    @pytest.mark.parametrize('build', [dinov2, eva02])
    def test_takes_over_the_last_blocks_of_a_vit(self, build):
        torch.manual_seed(0)
        encoder = build(32, 4, 2, image_size=64, taps=(1,), pyramid='none')
        head = split_off_head(encoder, CLASSES, blocks=2, queries=6)
        assert len(encoder.blocks) == len(head.blocks) == 2
        scores = head.eval()(encoder.eval()(torch.randn(1, 3, 80, 48)))
        assert scores.shape == (1, CLASSES, 20, 12)
        features = encoder(torch.randn(1, 3, 80, 48))
        program = torch.export.export(head, (features,))
        assert torch.allclose(program.module()(features), head(features), atol=1e-5)

    def test_a_vit_with_other_taps_is_refused(self):
        encoder = dinov2(32, 4, 2, image_size=64)
        with pytest.raises(DgssError, match=r"needs taps=\(1,\) and pyramid='none'"):
            split_off_head(encoder, CLASSES, blocks=2)

    def test_impossible_stride(self):
        with pytest.raises(DgssError, match='one map of stride 2 or more'):
            EomtHead(*PYRAMID, CLASSES)

    def test_has_the_published_size(self):
        with torch.device('meta'), Undrawn():
            head = EomtHead((1024,), (16,), 19)
        assert sum(p.numel() for p in head.parameters()) == pytest.approx(11.7e6, rel=0.01)


class TestQueryHead(HeadContract):
    levels = ((16,), (16,))
    golden = (1.0312, 2.5241, 0.2064, 1.0291, 2.5234, 0.2069)

    def make(self, **options):
        block = Block(16, Attention(16, 2), Mlp(16, 32, torch.nn.GELU()))
        criterion = SetCriterion(points=128)
        return QueryHead(*self.levels, CLASSES, block, queries=6, criterion=criterion, **options)

    def test_training_sees_what_deployment_sees(self):
        head = self.head().eval()
        evaluated = head.predict(*head.tokens(self.features()))
        for module in head.train().modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                module.eval()
        trained = head.predict(*head.tokens(self.features()))
        assert torch.allclose(trained.masks, evaluated.masks, atol=1e-6)

    def test_queries_and_patches_attend_to_each_other(self):
        head = self.head().eval()
        before = head.tokens(self.features())
        with torch.no_grad():
            head.queries[0] = -head.queries[0]
        after = head.tokens(self.features())
        assert not torch.allclose(before[0][:, 1:], after[0][:, 1:], atol=1e-4)
        assert not torch.allclose(before[1], after[1], atol=1e-4)

    def test_alignment_costs_nothing_at_inference(self):
        plain, aligned = self.head().eval(), self.make(alignment=1.0).eval()
        aligned.load_state_dict(plain.state_dict())
        graphs = [torch.export.export(h, (self.features(),)).graph for h in (plain, aligned)]
        assert str(graphs[0]) == str(graphs[1])
        assert torch.equal(plain(self.features()), aligned(self.features()))

    def test_alignment_trains_the_queries_and_keeps_prototypes(self):
        head = self.make(alignment=2.0).train()
        labels = torch.full((2, 64, 96), 255)
        labels[:, :32], labels[:, 32:, :48] = 1, 3
        losses = head.loss(self.features(), labels)
        assert set(losses) == {'class_0', 'mask_0', 'dice_0', 'align'}
        prototypes = head.classify.prototypes
        assert prototypes.any(1).tolist() == [False, True, False, True, False]
        torch.testing.assert_close(prototypes[[1, 3]].norm(dim=1), torch.ones(2))
        losses['align'].backward()
        assert head.queries.grad.abs().max() > 0
        assert head.classify.weight.grad is None
        head.eval().loss(self.features(), torch.zeros_like(labels))
        assert not head.classify.prototypes[0].any(), 'only training changes prototypes'

    @pytest.mark.parametrize('build', [dinov2, eva02])
    def test_takes_over_the_last_block_of_a_vit(self, build):
        torch.manual_seed(0)
        encoder = build(32, 4, 2, image_size=64, taps=(2,), pyramid='none')
        (block,) = take_last_blocks(encoder, 1)
        head = QueryHead(
            encoder.channels, encoder.strides, CLASSES, block, encoder.rotation, queries=6
        )
        assert len(encoder.blocks) == 3
        scores = head.eval()(encoder.eval()(torch.randn(1, 3, 80, 48)))
        assert scores.shape == (1, CLASSES, 20, 12)

    @pytest.mark.parametrize('build', [dinov3, eva02])
    def test_patches_keep_the_rotary_positions_of_the_vit(self, build):
        encoder = build(32, 2, 2, image_size=64, taps=(0,), pyramid='none')
        (block,) = take_last_blocks(encoder, 1)
        head = QueryHead(
            encoder.channels, encoder.strides, CLASSES, block, encoder.rotation, queries=6
        )
        theirs, ours = (r(height=3, width=4) for r in (encoder.rotation, head.rotation))
        assert torch.equal(ours.cosines[6:], theirs.cosines[encoder.embed.prefix :])
        assert torch.equal(ours.sines[6:], theirs.sines[encoder.embed.prefix :])
        assert not ours.sines[:6].any(), 'queries are not rotated'

    def test_impossible_options(self):
        with pytest.raises(DgssError, match='one map whose stride 4 divides'):
            QueryHead(*PLAIN, CLASSES, torch.nn.Identity())
        for options in ({'queries': 0}, {'alignment': -1.0}):
            with pytest.raises(DgssError, match='at least 1 query and a weight'):
                QueryHead((16,), (16,), CLASSES, torch.nn.Identity(), **options)

    def test_levels_without_strides_are_refused(self):
        with pytest.raises(DgssError, match='one stride for each feature map'):
            QueryHead((16,), (16, 16), CLASSES, torch.nn.Identity())

    def test_is_light(self):
        block = torch.nn.Identity()
        with torch.device('meta'), Undrawn():
            head = QueryHead((1024,), (16,), 19, block)
        assert sum(p.numel() for p in head.parameters()) == 5_110_292
