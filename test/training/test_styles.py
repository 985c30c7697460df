"""Style mining and mixing of FAMix."""

from random import Random

import pytest
import torch
import torch.nn.functional as F

from dgss_core.errors import DgssError
from dgss_core.labels import LabelSet
from dgss_core.networks.encoders.clip_resnet import ClipResNet
from dgss_core.training.styles import (
    StyleBank,
    draw_shares,
    first_of_each_class,
    join_patches,
    mine_styles,
    mix_styles,
    normalise,
    patch_classes,
    restyle,
    split_patches,
)

MODULE = 1e-5


def number_after(note: str, word: str) -> int:
    """The integer after `word` in the note of a record."""
    digits = note.split(word)[1].lstrip(' (')
    return int(
        ''.join(c for c in digits[: next(i for i, c in enumerate(digits) if not c.isdigit())])
    )


def seeded_weights(shapes: dict[str, torch.Size], seed: int) -> dict[str, torch.Tensor]:
    """The random weights of the records: parameters first, then statistics."""
    generator = torch.Generator().manual_seed(seed)
    statistics = [k for k in shapes if k.endswith(('running_mean', 'running_var'))]
    weights = {}
    for key in [k for k in shapes if k not in statistics] + statistics:
        x = torch.randn(shapes[key], generator=generator)
        if key.endswith('running_mean'):
            x = 0.1 * x
        elif key.endswith('running_var'):
            x = 1 + 0.1 * x.abs()
        elif x.ndim > 1:
            x = x / x[0].numel() ** 0.5
        else:
            x = 1 + 0.1 * x if key.endswith('weight') else 0.02 * x
        weights[key] = x
    return weights


def recorded_clip(note: str) -> ClipResNet:
    """The network of the mining record, with the weights described in its note."""
    layers = note.split('layers=(')[1].split(')')[0].split(',')
    net = ClipResNet(
        # Upstream always appends one more block.
        [max(2, int(count)) for count in layers],
        width=number_after(note, 'width='),
        embedding=number_after(note, 'output_dim='),
        heads=number_after(note, 'heads='),
        image_size=number_after(note, 'input_resolution='),
    ).eval()
    own = net.state_dict()
    pool = ['positional_embedding']
    pool += [f'{name}_proj.{kind}' for name in 'kqvc' for kind in ('weight', 'bias')]
    keys = [k for k in own if 'attnpool' not in k and 'tracked' not in k]
    keys += [f'attnpool.{name}' for name in pool]
    net.load_state_dict(
        own | seeded_weights({k: own[k].shape for k in keys}, number_after(note, 'seeded('))
    )
    return net.requires_grad_(False)


def test_famix_mining(shared):
    r = torch.load(shared / 'parity' / 'famix_ppin.pt', weights_only=True)
    note, theirs = r['note'], r['outputs']
    shape = [int(n) for n in note.split('randn(')[1].split(', seed')[0].split(',')]
    torch.manual_seed(number_after(note, 'seed '))
    patches = split_patches(torch.randn(shape), r['kwargs']['div'])[r['inputs']['ind']]
    normalised, means, stds = normalise(patches)
    assert (means - theirs['mean0']).abs().max() <= MODULE
    assert (stds - theirs['std0']).abs().max() <= MODULE
    styled = restyle(normalised, means, stds)
    small = theirs['patches_small']
    assert (F.adaptive_avg_pool2d(styled, 56)[:, : small.shape[1]] - small).abs().max() <= MODULE
    assert (styled.mean((2, 3)) - theirs['patch_mean']).abs().max() <= MODULE
    assert (styled.std((2, 3)) - theirs['patch_std']).abs().max() <= MODULE
    clip = recorded_clip(note)
    means, stds, losses = mine_styles(
        patches,
        r['inputs']['target'],
        lambda x: clip.embed(clip.high(x)[-1]),
        steps=len(theirs['losses']),
    )
    assert losses == pytest.approx(theirs['losses'].tolist(), abs=MODULE)
    assert (means - theirs['mean3']).abs().max() <= MODULE
    assert (stds - theirs['std3']).abs().max() <= MODULE


@pytest.mark.parametrize('name', ['famix_local_mix', 'famix_local_nomix'])
def test_famix_mixing(shared, name):
    r = torch.load(shared / 'parity' / f'{name}.pt', weights_only=True)
    note, inputs, theirs = r['note'], r['inputs'], r['outputs']
    shape = [int(n) for n in note.split('randn(')[1].split(', seed')[0].split(',')]
    torch.manual_seed(number_after(note, ', seed '))
    low = torch.randn(shape)
    names = LabelSet.load('cityscapes19').names
    bank = StyleBank.of_published(inputs['bank'], names)
    ids = {name: index for index, name in enumerate(names)} | {255: 255}
    classes = torch.tensor([[ids[name] for name in patch] for patch in inputs['most']]).flatten()
    # Without mixing, upstream uses the drawn style unchanged.
    shares = inputs['s'] if name == 'famix_local_mix' else 0.0
    mixed = mix_styles(low, classes, bank, shares, Random(number_after(note, 'seeded ')))
    sub = theirs['low_sub']
    steps = [n // m for n, m in zip(mixed.shape[1:], sub.shape[1:], strict=True)]
    ours = mixed[:, :: steps[0], :: steps[1], :: steps[2]]
    assert (ours - sub).abs().max() <= MODULE
    assert (mixed.mean((2, 3)) - theirs['low_mean']).abs().max() <= MODULE
    means = F.avg_pool2d(mixed, [n // 3 for n in mixed.shape[2:]])
    assert (means - theirs['patch_mean']).abs().max() <= MODULE


def test_patches_are_in_order_and_join_again():
    x = torch.arange(2 * 3 * 6 * 9.0).reshape(2, 3, 6, 9)
    patches = split_patches(x)
    assert patches.shape == (18, 3, 2, 3)
    # Patch 5 is row 1, column 2; image 1 is the second of its pair.
    assert torch.equal(patches[5 * 2 + 1], x[1, :, 2:4, 6:9])
    assert torch.equal(join_patches(patches), x)
    with pytest.raises(DgssError, match='3x3 equal patches'):
        split_patches(x[..., :8])


def test_the_class_of_a_patch_is_its_most_frequent_id():
    labels = torch.zeros(1, 4, 4, dtype=torch.long)
    labels[0, :2, 2:] = 255
    labels[0, 2:, :2] = torch.tensor([[7, 7], [3, 3]])
    labels[0, 3, 2:] = 1
    labels[0, 2, 3] = 1
    assert patch_classes(labels, side=2).tolist() == [0, 255, 3, 1]
    assert first_of_each_class([4, 255, 4, 0, 255, 0]) == [0, 1, 3]


def test_a_mined_style_brings_patches_closer_to_the_text():
    torch.manual_seed(0)
    clip = ClipResNet((1, 1, 1, 1), width=4, embedding=8, heads=4, image_size=64).eval()
    clip.requires_grad_(False)
    patches, targets = torch.randn(3, 16, 20, 20).relu(), torch.randn(3, 8)
    means, stds, losses = mine_styles(
        patches, targets, lambda x: clip.embed(clip.high(x)[-1]), steps=12, size=16, lr=0.5
    )
    assert losses[-1] < losses[0] - 0.01
    assert means.shape == stds.shape == (3, 16, 1, 1)
    bank = StyleBank({})
    bank.add([2, 255, 2], means, stds)
    assert {label: len(styles) for label, styles in bank.styles.items()} == {2: 2, 255: 1}
    drawn, _ = bank.draw([9], Random(0))
    assert torch.equal(drawn[0], means[1])


def test_keeping_the_own_style_changes_nothing():
    low = torch.randn(2, 4, 12, 12).relu() + 0.1
    bank = StyleBank({255: torch.ones(1, 2, 4)})
    classes = torch.zeros(18, dtype=torch.long)
    kept = mix_styles(low, classes, bank, torch.ones(2, 4, 1, 1), Random(0))
    assert torch.allclose(kept, low, atol=1e-5)
    replaced = mix_styles(low, classes, bank, 0.0, Random(0))
    assert not torch.allclose(replaced, low, atol=0.1)


def test_shares_are_mostly_all_or_nothing():
    torch.manual_seed(0)
    shares = draw_shares(8, 256)
    assert shares.shape == (8, 256, 1, 1)
    assert ((shares < 0.1) | (shares > 0.9)).float().mean() > 0.7
    assert shares.mean().item() == pytest.approx(0.5, abs=0.05)


def test_a_bank_of_other_classes_is_refused():
    style = torch.ones(3, 1, 1)
    with pytest.raises(DgssError, match='moon_mu'):
        StyleBank.of_published({'moon_mu': [style], 'moon_std': [style]}, ['road'])
    with pytest.raises(DgssError, match=r'means without deviations: .*road'):
        StyleBank.of_published({'road_mu': [style], 'road_std': []}, ['road'])
    with pytest.raises(DgssError, match='neither class 3 nor 255'):
        StyleBank({0: torch.ones(1, 2, 4)}).draw([3], Random(0))
