"""Checkpoints of the catalog at full size in the layouts of their publishers, without data.

`layout_of` gives the weights of an entry and of its base, on the device meta. Names and shapes are
those of the recorded layouts (`DGSS_SHARED`/parity), of the publishers' own code, and of OpenAI's
CLIP. A system with a new importer adds a function to `LAYOUTS`, by its field `published`.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from famix_file import as_famix
from library_systems import as_published
from published_layouts import LAYOUTS as RECORDED
from published_layouts import shapes as recorded
from published_sam import official_sam
from records import layout
from transformers_systems import published_mask2former, published_segformer

from dgss_core.networks.importers.keys import Weights, take_prefix
from dgss_core.networks.systems import SYSTEMS, build_system
from dgss_core.networks.systems.importers import import_system
from dgss_core.published.entry import Checkpoint

VITS = {'s': (384, 12), 'b': (768, 12), 'l': (1024, 24), 'h': (1280, 32)}
"""Width and blocks of a ViT by the end of the name of its system."""


def meta(**shapes: tuple[int, ...]) -> Weights:
    return {key: torch.empty(shape, device='meta') for key, shape in shapes.items()}


def linear(name: str, out: int, given: int) -> dict[str, tuple[int, ...]]:
    return {f'{name}.weight': (out, given), f'{name}.bias': (out,)}


def norm(name: str, width: int) -> dict[str, tuple[int, ...]]:
    return {f'{name}.weight': (width,), f'{name}.bias': (width,)}


def published_reins(width: int = 1024, depth: int = 24) -> Weights:
    """Rein's adapter, with 100 tokens of rank 16 (reins_dinov2.py of w1oves/Rein)."""
    shapes = {
        'scale': (),
        'learnable_tokens_a': (depth, 100, 16),
        'learnable_tokens_b': (depth, 16, width),
        **linear('mlp_token2feat', width, width),
        **linear('mlp_delta_f', width, width),
        **linear('transform', 256, width),
        **linear('merge', 256, 768),
    }
    return meta(**{f'backbone.reins.{key}': shape for key, shape in shapes.items()})


def published_dinov2(patch: int, side: int, width: int = 1024, depth: int = 24) -> Weights:
    """The official file (facebookresearch/dinov2), or Rein's conversion of it."""
    shapes: dict[str, tuple[int, ...]] = {
        'cls_token': (1, 1, width),
        'pos_embed': (1, 1 + side * side, width),
        'mask_token': (1, width),
        'patch_embed.proj.weight': (width, 3, patch, patch),
        'patch_embed.proj.bias': (width,),
        **norm('norm', width),
    }
    for i in range(depth):
        block = f'blocks.{i}'
        shapes |= norm(f'{block}.norm1', width) | norm(f'{block}.norm2', width)
        shapes |= linear(f'{block}.attn.qkv', 3 * width, width)
        shapes |= linear(f'{block}.attn.proj', width, width)
        shapes |= linear(f'{block}.mlp.fc1', 4 * width, width)
        shapes |= linear(f'{block}.mlp.fc2', width, 4 * width)
        shapes |= {f'{block}.ls1.gamma': (width,), f'{block}.ls2.gamma': (width,)}
    return meta(**shapes)


def published_eva02() -> Weights:
    """EVA-02-L after masked image modelling, with the head of that (baaivision/EVA, EVA-02)."""
    width, hidden = 1024, 2730
    shapes: dict[str, tuple[int, ...]] = {
        'cls_token': (1, 1, width),
        'pos_embed': (1, 257, width),
        'mask_token': (1, 1, width),
        'patch_embed.proj.weight': (width, 3, 16, 16),
        'patch_embed.proj.bias': (width,),
        **norm('norm', width),
        **linear('lm_head', 768, width),
        'rope.freqs_cos': (256, 64),
        'rope.freqs_sin': (256, 64),
    }
    for i in range(24):
        block = f'blocks.{i}'
        shapes |= norm(f'{block}.norm1', width) | norm(f'{block}.norm2', width)
        shapes |= {f'{block}.attn.{part}_proj.weight': (width, width) for part in 'qkv'}
        shapes |= {f'{block}.attn.{part}_bias': (width,) for part in 'qv'}
        shapes |= {f'{block}.attn.rope.freqs_{part}': (256, 64) for part in ('cos', 'sin')}
        shapes |= linear(f'{block}.attn.proj', width, width)
        shapes |= linear(f'{block}.mlp.w1', hidden, width)
        shapes |= linear(f'{block}.mlp.w2', hidden, width)
        shapes |= norm(f'{block}.mlp.ffn_ln', hidden)
        shapes |= linear(f'{block}.mlp.w3', width, hidden)
    return meta(**shapes)


def published_clip_vit() -> Weights:
    """OpenAI's ViT-L/14, with what the file holds beside the image tower (openai/CLIP)."""
    width = 1024
    shapes: dict[str, tuple[int, ...]] = {
        'text_projection': (768, 768),
        'logit_scale': (),
        'token_embedding.weight': (49408, 768),
        'positional_embedding': (77, 768),
        **norm('ln_final', 768),
        'visual.class_embedding': (width,),
        'visual.positional_embedding': (257, width),
        'visual.proj': (width, 768),
        'visual.conv1.weight': (width, 3, 14, 14),
        **norm('visual.ln_pre', width),
        **norm('visual.ln_post', width),
    }
    for i in range(24):
        block = f'visual.transformer.resblocks.{i}'
        shapes |= norm(f'{block}.ln_1', width) | norm(f'{block}.ln_2', width)
        shapes |= {f'{block}.attn.in_proj_weight': (3 * width, width)}
        shapes |= {f'{block}.attn.in_proj_bias': (3 * width,)}
        shapes |= linear(f'{block}.attn.out_proj', width, width)
        shapes |= linear(f'{block}.mlp.c_fc', 4 * width, width)
        shapes |= linear(f'{block}.mlp.c_proj', width, 4 * width)
    return meta(**shapes)


def mmdet_head(shared: Path, width: int = 1024, linked: bool = True) -> Weights:
    """The recorded head of Rein, or the same with queries of its own, for a ViT of `width`."""
    head = layout(shared / 'parity' / 'rein_full_layout.txt')
    for key, value in head.items():
        if 'input_convs' in key or 'lateral_convs' in key:
            shape = [width if size == 1024 else size for size in value.shape]
            head[key] = torch.empty(shape, device='meta')
    if not linked:
        head = {key: value for key, value in head.items() if 'querys2feat' not in key}
        for name in ('query_embed', 'query_feat'):
            head[f'decode_head.{name}.weight'] = torch.empty(100, 256, device='meta')
    return head


def vltseg(entry: Checkpoint, shared: Path) -> tuple[Weights, Weights | None]:
    tower = layout(shared / 'parity' / 'vltseg_layout.txt')
    for key in [key for key in tower if key.startswith('backbone.blocks.0.')]:
        for block in range(1, 24):
            tower[key.replace('blocks.0', f'blocks.{block}')] = tower[key]
    return tower | mmdet_head(shared, linked=False), None


def rein(entry: Checkpoint, shared: Path) -> tuple[Weights, Weights | None]:
    system = entry.system or ''
    width, depth = VITS[system[-1]]
    weights = mmdet_head(shared, width) | published_reins(width, depth)
    if 'eva02' in system:
        return weights, published_eva02()
    if 'clip' in system:
        return weights, published_clip_vit()
    if 'sam' in system:
        return weights, meta(**official_sam(width, depth, heads=16, grid=64))
    return weights, published_dinov2(14, 37, width, depth)


def soma(entry: Checkpoint, shared: Path) -> tuple[Weights, Weights | None]:
    """Adapters of rank 16 and the biases of the last two thirds of the blocks (SoMA's README)."""
    base = published_dinov2(14, 37)
    weights = mmdet_head(shared, linked=False)
    for i in range(8, 24):
        sizes = {f'attn.{name}': (1024, 1024) for name in ('q', 'k', 'v', 'proj')}
        sizes |= {'mlp.fc1': (4096, 1024), 'mlp.fc2': (1024, 4096)}
        for name, (out, given) in sizes.items():
            prefix = f'backbone.model.blocks.{i}.{name}'
            weights |= meta(
                **{
                    f'{prefix}.lora_A.weight': (16, given),
                    f'{prefix}.lora_B.weight': (out, 16),
                    f'{prefix}.bias': (out,),
                }
            )
    return weights, base


def famix(entry: Checkpoint, shared: Path) -> tuple[Weights, Weights | None]:
    with torch.device('meta'):
        return as_famix(build_system(entry.system or '').state_dict()), None


def clouds(entry: Checkpoint, shared: Path) -> tuple[Weights, Weights | None]:
    """The image tower under OpenAI's and open_clip's names, the recorded head at full size."""
    with torch.device('meta'):
        model = build_system(entry.system or '')
    tower = {}
    for key, value in model.encoder.state_dict().items():
        name = re.sub(r'network\.(stem|stages)_(\d+)', r'trunk.\1.\2', key)
        tower[f'backbone.clip_model.visual.{name}'] = value
    record = torch.load(shared / 'parity' / 'clouds_mask2former.pt', weights_only=True)
    names = [*record['state_dict']]
    for start, layers in (('encoder.layers', 6), ('attention_layers', 9), ('ffn_layers', 9)):
        first = [key for key in names if f'{start}.0.' in key]
        for i in range(1, layers):
            names += [key.replace(f'{start}.0.', f'{start}.{i}.') for key in first]
    state = record['state_dict']
    layer = r'(encoder\.layers|_layers)\.\d+\.'
    small = {key: state[re.sub(layer, r'\1.0.', key)] for key in dict.fromkeys(names)}
    head = at_full_size(small, take_prefix(model.state_dict(), 'head.'))
    return tower | {f'sem_seg_head.{key}': value for key, value in head.items()}, None


def at_full_size(small: Weights, full: Weights) -> Weights:
    """The weights `small` of a head in its published names, with the shapes of our `full` one.

    Which of ours come from which of theirs is seen from numbers that the importer passes on.
    """
    marked = {
        f'sem_seg_head.{key}': torch.full(value.shape, float(number))
        for number, (key, value) in enumerate(small.items())
    }
    marked['backbone.clip_model.visual.conv3.weight'] = torch.zeros(1)
    marked['backbone.clip_model.visual.bn3.weight'] = torch.zeros(1)
    marked['backbone.clip_model.visual.layer4.0.conv1.weight'] = torch.zeros(1)
    imported = import_system('clouds-rn50', marked)
    parts: dict[int, list[torch.Size]] = {}
    for key, value in take_prefix(imported, 'head.').items():
        parts.setdefault(int(value.flatten()[0]), []).append(full[key].shape)
    found = {}
    for number, key in enumerate(small):
        shapes = parts[number]
        shape = [*shapes[0]]
        shape[0] = sum(part[0] for part in shapes)  # Of a projection that was split in three.
        found[key] = torch.empty(shape, device='meta')
    return found


def realtime(entry: Checkpoint, shared: Path) -> tuple[Weights, Weights | None]:
    """The recorded layout of the publisher that has the system."""
    system = entry.system or ''
    ending = 'mmseg' if 'openmmlab' in entry.host else ('authors', 'coincheung')
    name = next(n for n, columns in RECORDED.items() if system in columns and n.endswith(ending))
    return meta(**recorded(name, system)), None


def eomt(entry: Checkpoint, shared: Path) -> tuple[Weights, Weights | None]:
    pytest.importorskip('timm')
    from authors_eomt import AuthorsEomt

    name = {'s': 'small', 'b': 'base', 'l': 'large'}[(entry.system or '')[-1]]
    side = entry.image_size or 1024
    with torch.device('meta'):
        network = AuthorsEomt(name, classes=19, queries=100, img_size=side)
    return {f'network.{key}': value for key, value in network.state_dict().items()}, None


def of_transformers(entry: Checkpoint, shared: Path) -> tuple[Weights, Weights | None]:
    """Of the two publishers, the one whose library is installed."""
    if 'huggingface' not in entry.host:
        pytest.skip('the layout of openmmlab is recorded at a small size: see test_convert_*')
    kind, size = (entry.system or '')[:4], (entry.system or '')[-1]
    model = published_segformer(int(size)) if kind == 'segf' else published_mask2former(size)
    return as_published(model), None


Layout = Callable[[Checkpoint, Path], tuple[Weights, Weights | None]]
LAYOUTS: dict[str, Layout] = {
    'rein': rein,
    'vltseg': vltseg,
    'soma': soma,
    'famix': famix,
    'clouds': clouds,
    'eomt': eomt,
    'segformer': of_transformers,
    'mask2former': of_transformers,
    'pidnet': realtime,
    'ddrnet': realtime,
    'bisenetv2': realtime,
    'bisenetv2-coincheung': realtime,
}
"""By the field `published` of a system."""


def layout_of(entry: Checkpoint, shared: Path) -> tuple[Weights, Weights | None]:
    """The weights of an entry and of its base. Raises KeyError for a system without a layout."""
    return LAYOUTS[SYSTEMS[entry.system or ''].published](entry, shared)
