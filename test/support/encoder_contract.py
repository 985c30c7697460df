"""The contract of every encoder, inherited by one test class per family."""

from __future__ import annotations

import copy
import math

import pytest
import torch
from formula_weights import fill, image
from torch import Tensor

from dgss_core.networks.adapters.freezing import POLICIES, freeze
from dgss_core.networks.encoders import Encoder
from dgss_core.networks.encoders.memory import graph_bytes


class EncoderContract:
    """A subclass defines `build` and `golden`, the mean of |map| for `image(1, 64, 96)`."""

    golden: tuple[float, ...]
    even = (64, 96)
    """A size that needs no padding, (height, width)."""

    def build(self) -> Encoder:
        raise AssertionError('a subclass builds its encoder here')

    @pytest.fixture
    def encoder(self) -> Encoder:
        encoder = self.build()
        fill(encoder)
        return encoder.eval()

    def check_maps(self, encoder: Encoder, maps: list[Tensor], height: int, width: int):
        assert len(maps) == len(encoder.channels) == len(encoder.strides)
        for x, channels, cell in zip(maps, encoder.channels, encoder.cells, strict=True):
            size = (math.ceil(height / cell), math.ceil(width / cell))
            assert x.shape == (1, channels, *size)
            assert x.isfinite().all()

    def test_maps_have_the_declared_channels_and_strides(self, encoder):
        with torch.no_grad():
            maps = encoder(image(1, *self.even))
        self.check_maps(encoder, maps, *self.even)
        for x, stride, cell in zip(maps, encoder.strides, encoder.cells, strict=True):
            assert stride & (stride - 1) == 0
            assert 0.8 < stride / cell < 1.25
            assert x.shape[-1] / x.shape[-2] == pytest.approx(1.5, abs=0.3)

    @pytest.mark.parametrize('size', [(65, 97), (71, 50), (33, 130), (5, 9), (1, 1)])
    def test_any_size_is_padded_and_cropped_back(self, encoder, size):
        with torch.no_grad():
            self.check_maps(encoder, encoder(image(1, *size)), *size)

    def test_the_first_stage_ends_in_a_relu_if_declared(self, encoder):
        seen: list[Tensor] = []
        encoder.first_stage().register_forward_hook(lambda module, x, y: seen.append(y))
        with torch.no_grad():
            encoder(image(1, *self.even))
        assert encoder.ends_in_relu == (seen[0].min().item() >= 0)

    def test_padding_repeats_the_edge(self, encoder):
        height, width = self.even
        x = image(1, height - 1, width - 2)
        whole = torch.cat((x, x[:, :, -1:]), dim=2)
        whole = torch.cat((whole, whole[..., -1:], whole[..., -1:]), dim=3)
        if encoder.size_multiple == 1:
            whole = x
        with torch.no_grad():
            for ours, padded in zip(encoder(x), encoder.maps(whole), strict=True):
                cut = padded[:, :, : ours.shape[2], : ours.shape[3]]
                assert torch.equal(ours, cut)

    def test_images_of_a_batch_do_not_mix(self, encoder):
        x = image(2, *self.even)
        with torch.no_grad():
            for both, second in zip(encoder(x), encoder(x[1:]), strict=True):
                error = (both[1:] - second).abs().max() / second.abs().max()
                assert error < 1e-5

    def test_every_weight_is_trained(self, encoder):
        encoder.train()
        loss = sum((x * x.detach().cos()).mean() for x in encoder(image(2, *self.even)))
        loss.backward()
        without = [
            name
            for name, weight in encoder.named_parameters()
            if weight.grad is None or not weight.grad.isfinite().all()
        ]
        assert without == []

    def test_checkpointing_changes_no_gradient(self, encoder):
        other = copy.deepcopy(encoder)
        other.checkpointing = True
        for each in (encoder, other):
            sum(x.square().mean() for x in each(image(1, *self.even))).backward()
        for (name, a), b in zip(encoder.named_parameters(), other.parameters(), strict=True):
            torch.testing.assert_close(a.grad, b.grad, atol=1e-6, rtol=1e-5, msg=name)

    def test_checkpointing_keeps_less(self, encoder):
        x = image(1, *self.even)
        kept = graph_bytes(lambda: encoder(x))
        encoder.checkpointing = True
        assert graph_bytes(lambda: encoder(x)) < 0.8 * kept

    def test_state_survives_a_file(self, encoder, tmp_path):
        torch.save(encoder.state_dict(), tmp_path / 'encoder.pt')
        other = self.build().eval()
        other.load_pretrained(torch.load(tmp_path / 'encoder.pt', weights_only=True), 'a file')
        with torch.no_grad():
            x = image(1, *self.even)
            for ours, theirs in zip(encoder(x), other(x), strict=True):
                assert torch.equal(ours, theirs)

    # The larger one needs no padding, and shows nothing that the other does not.
    @pytest.mark.parametrize('size', [pytest.param((64, 96), marks=pytest.mark.slow), (61, 90)])
    def test_exports_to_one_graph(self, encoder, size):
        x = image(1, *size)
        program = torch.export.export(encoder, (x,))
        for ours, exported in zip(encoder(x), program.module()(x), strict=True):
            torch.testing.assert_close(ours, exported, atol=1e-5, rtol=1e-5)

    def test_golden_maps(self, encoder):
        with torch.no_grad():
            found = [x.abs().mean().item() for x in encoder(image(1, *self.even))]
        assert found == pytest.approx(self.golden, rel=1e-4)

    @pytest.mark.parametrize('policy', POLICIES)
    def test_freezing(self, encoder, policy):
        freeze(encoder, policy)
        encoder.train()
        trained = {id(p) for p in encoder.parameters() if p.requires_grad}
        modules = [module for stage in encoder.trunk() for module in stage]
        weighed = [module for module in modules if list(module.parameters())]
        states = [all(id(p) in trained for p in module.parameters()) for module in weighed]
        last = sum(bool(list(module.parameters())) for module in encoder.trunk()[-1])
        count = {'frozen': 0, 'last_block': 1, 'last_stage': last, 'full': len(weighed)}[policy]
        assert states == [False] * (len(weighed) - count) + [True] * count
        assert [module.training for module in weighed] == states

    def test_trunk_holds_every_pretrained_weight(self, encoder):
        held = {id(p) for stage in encoder.trunk() for m in stage for p in m.parameters()}
        outside = [name for name, p in encoder.named_parameters() if id(p) not in held]
        assert all(name.startswith(encoder.new_parts) for name in outside)

    def test_frozen_weights_record_nothing(self, encoder):
        encoder.requires_grad_(False).train()
        assert graph_bytes(lambda: encoder(image(1, *self.even))) == 0
        assert not any(m.training for m in encoder.children() if list(m.parameters()))
