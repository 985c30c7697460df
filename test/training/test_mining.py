"""Mining a bank of styles and training with it, on a CLIP of a few channels."""

from __future__ import annotations

from pathlib import Path
from random import Random

import open_clip
import pytest
import torch
from tiny_training import CPU, parse, recipe, write_frames

from dgss_core.commands.mine_styles import read_styles
from dgss_core.errors import DgssError
from dgss_core.labels import LabelSet
from dgss_core.networks.encoders import build_encoder
from dgss_core.networks.text.embeddings import TextTower
from dgss_core.training.loop import train
from dgss_core.training.mining import mine_bank
from dgss_core.training.mixing import MixingConfig, mixed_styles, styles_of
from dgss_core.training.styles import StyleBank, draw_shares, mix_styles, patch_classes

CITYSCAPES = LabelSet.load('cityscapes19')
SMALL = {'layers': (1, 1, 1, 1), 'width': 8}
CHANNELS = 32


def tower() -> TextTower:
    torch.manual_seed(0)
    clip = open_clip.CLIP(
        embed_dim=16,
        vision_cfg={'layers': 1, 'width': 16, 'head_width': 8, 'patch_size': 16, 'image_size': 32},
        text_cfg={'context_length': 32, 'vocab_size': 49408, 'width': 16, 'heads': 2, 'layers': 1},
    )
    return TextTower.of(clip, open_clip.SimpleTokenizer(context_length=32))


def frames(count: int, side: int = 96) -> tuple[torch.Tensor, torch.Tensor]:
    random = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (count, 3, side, side), generator=random, dtype=torch.uint8)
    labels = torch.randint(0, 3, (count, 3, 3), generator=random)
    labels[0, 0, 0] = 255
    return images, labels.repeat_interleave(side // 3, 1).repeat_interleave(side // 3, 2).byte()


def mined(seed: int = 0, **options) -> StyleBank:
    torch.manual_seed(0)
    encoder = build_encoder('clip-rn50', None, embedding=16, heads=4, **SMALL)
    return mine_bank(encoder, tower(), [frames(2)], CITYSCAPES, ['Urban Grit'], seed, **options)


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'cache'))


def test_a_bank_has_a_style_for_every_class_of_a_batch_and_for_void() -> None:
    bank = mined(steps=3)
    assert set(bank.styles) == {0, 1, 2, 255}
    assert all(styles.shape == (1, 2, CHANNELS) for styles in bank.styles.values())
    before = mined(steps=0)
    assert all((bank.styles[k] - before.styles[k]).abs().max() > 1e-3 for k in bank.styles)


def test_a_saved_bank_keeps_its_label_set_and_encoder(tmp_path: Path) -> None:
    bank, path = mined(steps=1), tmp_path / 'bank.safetensors'
    bank.save(path, CITYSCAPES, 'clip-rn50')
    again = StyleBank.load(path, CITYSCAPES, 'clip-rn50')
    assert again.styles.keys() == bank.styles.keys()
    assert all(torch.equal(again.styles[k], bank.styles[k]) for k in bank.styles)
    with pytest.raises(DgssError, match='styles of cityscapes19 for clip-rn50, not of camvid11'):
        StyleBank.load(path, LabelSet.load('camvid11'), 'clip-rn50')
    with pytest.raises(DgssError, match='dgss mine-styles'):
        StyleBank.load(tmp_path / 'none.safetensors', CITYSCAPES, 'clip-rn50')
    path.write_bytes(b'x')
    with pytest.raises(DgssError, match='not a whole safetensors file'):
        StyleBank.load(path, CITYSCAPES, 'clip-rn50')


def test_styles_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / 'styles.yaml'
    path.write_text('- Wet Asphalt at Night\n- First Snow\n')
    assert read_styles(path) == ['Wet Asphalt at Night', 'First Snow']
    assert len(read_styles(None)) == 20
    for wrong in ('styles: 3', '[]', '{'):
        path.write_text(wrong)
        with pytest.raises(DgssError, match=r'styles\.yaml'):
            read_styles(path)


def test_famix_trains_with_a_mined_bank(tmp_path: Path) -> None:
    write_frames(tmp_path)
    bank = tmp_path / 'bank.safetensors'
    mined(steps=1).save(bank, CITYSCAPES, 'clip-rn50')
    values = recipe(tmp_path, 'famix', steps=2, mixing={'bank': str(bank)})
    train(parse(values), tmp_path, tmp_path / 'run', CPU)
    wrong = recipe(tmp_path, 'famix', system='famix-rn101', mixing={'bank': str(bank)})
    with pytest.raises(DgssError, match='not of cityscapes19 for clip-rn101'):
        train(parse(wrong), tmp_path, tmp_path / 'other', CPU)


def test_mixing_in_the_encoder_is_mixing_between_its_stages() -> None:
    torch.manual_seed(0)
    encoder = build_encoder('clip-rn50', None, output_stride=16, **SMALL).eval()
    images, labels = frames(2)
    bank, seed, config = mined(steps=1), 7, MixingConfig()
    x = images.float() / 255
    with torch.no_grad():
        torch.manual_seed(seed)
        with mixed_styles(encoder, labels.long(), bank, config, seed):
            inside = encoder(x)
        torch.manual_seed(seed)
        low = encoder.low(x)
        shares = draw_shares(2, CHANNELS)
        low = mix_styles(low, patch_classes(labels.long()), bank, shares, Random(seed))
        between = [low, *encoder.high(low)]
        plain = encoder(x)
    for one, other, unmixed in zip(inside, between, plain, strict=True):
        torch.testing.assert_close(one, other)
        assert not torch.allclose(one, unmixed)


@pytest.mark.parametrize('name', ['dinov2-s', 'resnet50', 'mobilenetv2', 'sam-b', 'convnext-b'])
def test_any_encoder_can_mix_the_styles_of_a_batch(name: str) -> None:
    vit = {'width': 32, 'depth': 4, 'heads': 2, 'taps': (0, 1, 2, 3), 'image_size': 96}
    sizes = {
        'dinov2-s': vit,
        'sam-b': {**vit, 'window': 3},
        'resnet50': {'layers': (1, 1, 1, 1), 'channels': (8, 16, 24, 32)},
        'convnext-b': {'dims': (8, 16, 24, 32), 'depths': (1, 1, 1, 1)},
        'mobilenetv2': {},
    }
    torch.manual_seed(0)
    encoder = build_encoder(name, None, **sizes[name]).train()
    images, labels = frames(2)
    x, config = images.float() / 255, MixingConfig(side=3)
    maps = []
    for checkpointing in (False, True):
        encoder.checkpointing = checkpointing
        torch.manual_seed(0)
        with mixed_styles(encoder, labels.long(), None, config, seed=1):
            maps.append(encoder(x))
        sum(y.square().mean() for y in maps[-1]).backward()
    torch.testing.assert_close(maps[0], maps[1])
    assert not torch.allclose(maps[0][-1], encoder(x)[-1])
    never = MixingConfig(side=3, probability=0.0)
    encoder.eval()
    with mixed_styles(encoder, labels.long(), None, never, seed=1):
        unmixed = encoder(x)
    torch.testing.assert_close(unmixed, encoder(x))


def test_the_styles_of_a_batch_are_those_of_its_patches() -> None:
    low = torch.rand(2, 4, 6, 6)
    _, labels = frames(2)
    bank = styles_of(low, patch_classes(labels.long()), 3)
    assert sum(len(styles) for styles in bank.styles.values()) == 18
    first = low[0, :, :2, :2].flatten(1)
    torch.testing.assert_close(bank.styles[255][0, 0], first.mean(1))


def test_wrong_mixing_options_are_refused() -> None:
    for wrong in ({'side': 0}, {'alpha': 0.0}, {'probability': 1.5}):
        with pytest.raises(DgssError, match='Style mixing needs'):
            MixingConfig(**wrong)
