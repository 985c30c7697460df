"""Published checkpoints of complete systems, renamed to `SegmentationModel`.

Pure functions from state dict to state dict with keys `encoder.*` and `head.*`. Each knows every
key of its source and raises DgssError for any other key. `load_system` loads the result.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

import torch

from dgss_core.errors import DgssError
from dgss_core.networks.encoders.weights import load_weights
from dgss_core.networks.importers.adapters import import_reins, import_soma
from dgss_core.networks.importers.bisenetv2 import (
    import_bisenetv2,
    import_bisenetv2_coincheung,
)
from dgss_core.networks.importers.dual_resolution import import_ddrnet, import_pidnet
from dgss_core.networks.importers.encoders import (
    import_clip_resnet,
    import_clip_vit,
    import_dinov2,
    import_eva02,
    import_sam,
    import_timm_stages,
)
from dgss_core.networks.importers.eomt import import_eomt
from dgss_core.networks.importers.famix_head import deeplab_head
from dgss_core.networks.importers.keys import Weights, shorten, take_prefix
from dgss_core.networks.importers.mask2former_detectron2 import mask2former_head as detectron2_head
from dgss_core.networks.importers.mask2former_mmdet import mask2former_head as mmdet_head
from dgss_core.networks.importers.mask2former_transformers import import_mask2former
from dgss_core.networks.importers.segformer import import_segformer
from dgss_core.networks.importers.swin import import_swin
from dgss_core.networks.systems.model import SegmentationModel
from dgss_core.networks.systems.registry import SYSTEMS

SystemImporter = Callable[[Weights, Weights | None], Weights]


def rein_system(weights: Weights, base: Weights | None = None) -> Weights:
    """Rein: the published `backbone.reins.*` and `decode_head.*`, and the frozen encoder.

    The encoder comes from `base` (DINOv2, EVA-02, CLIP, or SAM's whole file), or from `backbone.*`
    if the file is complete. Raises DgssError if both or neither hold it.
    """
    parts = _split(weights, ('backbone.', 'decode_head.'), 'a checkpoint of Rein')
    backbone = parts['backbone.']
    adapter = take_prefix(backbone, 'reins.')
    if not adapter:
        raise DgssError(
            'This is not a checkpoint of Rein: it has no weights backbone.reins.*; '
            'check that the file and the system belong together.'
        )
    trunk = {key: value for key, value in backbone.items() if not key.startswith('reins.')}
    encoder = _plain_vit(_one_encoder(trunk, base, 'of Rein'))
    return {
        **_under('encoder.', encoder),
        **_under('encoder.adapter.', import_reins(adapter)),
        **_under('head.', mmdet_head(parts['decode_head.'])),
    }


def vltseg_system(weights: Weights, base: Weights | None = None) -> Weights:
    """VLTSeg: EVA-02-CLIP with its pyramid under `backbone.*`, Mask2Former `decode_head.*`."""
    _no_base(base, 'VLTSeg')
    parts = _split(weights, ('backbone.', 'decode_head.'), 'a checkpoint of VLTSeg')
    return {
        **_under('encoder.', import_eva02(parts['backbone.'])),
        **_under('head.', mmdet_head(parts['decode_head.'])),
    }


def clouds_system(weights: Weights, base: Weights | None = None) -> Weights:
    """CLOUDS: the image tower of `backbone.clip_model.*`, and `sem_seg_head.*`.

    Drops the rest of CLIP, the criterion's class weights, and the vector of the text classifier,
    which no published configuration uses.
    """
    _no_base(base, 'CLOUDS')
    source = 'a checkpoint of CLOUDS'
    unused = r'criterion\.empty_weight|void_embedding\.weight|pixel_(mean|std)'
    weights = {key: value for key, value in weights.items() if not re.fullmatch(unused, key)}
    parts = _split(weights, ('backbone.', 'sem_seg_head.'), source)
    tower = take_prefix(parts['backbone.'], 'clip_model.') or parts['backbone.']
    visual = take_prefix(tower, 'visual.')
    if not visual:
        raise DgssError(
            f'This is not {source}: it has no weights backbone.clip_model.visual.*; '
            'check that the file and the system belong together.'
        )
    convnext = any(key.startswith('trunk.') for key in visual)
    encoder = import_timm_stages(visual) if convnext else import_clip_resnet(visual)
    return {
        **_under('encoder.', encoder),
        **_under('head.', detectron2_head(parts['sem_seg_head.'])),
    }


def famix_system(weights: Weights, base: Weights | None = None) -> Weights:
    """FAMix: CLIP's ResNet under `backbone.*`, DeepLabV3+ under `classifier.*`."""
    _no_base(base, 'FAMix')
    weights = take_prefix(weights, 'module.') or weights
    parts = _split(weights, ('backbone.', 'classifier.'), 'a checkpoint of FAMix')
    return {
        **_under('encoder.', import_clip_resnet(parts['backbone.'])),
        **_under('head.', deeplab_head(parts['classifier.'])),
    }


def soma_system(weights: Weights, base: Weights | None = None) -> Weights:
    """SoMA: DINOv2 under `backbone.model.*` with its adapters merged, and `decode_head.*`.

    Small files hold adapters and biases only and need `base`, a DINOv2 file. The minor singular
    directions that the adapters replace are removed from it, as at the start of training.
    """
    parts = _split(weights, ('backbone.', 'decode_head.'), 'a checkpoint of SoMA')
    trunk = import_soma(take_prefix(parts['backbone.'], 'model.') or parts['backbone.'])
    adapted = sorted(key.removesuffix('.lora_a') for key in trunk if key.endswith('.lora_a'))
    whole = all(f'{name}.weight' in trunk for name in adapted) and 'embed.proj.weight' in trunk
    if whole:
        _no_base(base, 'SoMA whose file holds the encoder too')
    elif base is None:
        raise _missing_base('of SoMA')
    merged = dict(trunk) if whole else import_dinov2(base or {}) | trunk
    for name in adapted:
        merged[f'{name}.weight'] = _merge_soma(merged, name, residual=whole)
    return {
        **_under('encoder.', merged),
        **_under('head.', mmdet_head(parts['decode_head.'])),
    }


def mask2former_system(weights: Weights, base: Weights | None = None) -> Weights:
    """Mask2Former on Swin: all of it under the names of transformers or of openmmlab."""
    _no_base(base, 'Mask2Former')
    if not any(key.startswith('decode_head.') for key in weights):
        return import_mask2former(weights)
    parts = _split(weights, ('backbone.', 'decode_head.'), 'a checkpoint of Mask2Former')
    return {
        **_under('encoder.', import_swin(parts['backbone.'])),
        **_under('head.', mmdet_head(parts['decode_head.'])),
    }


def _whole(name: str, importer: Callable[[Weights], Weights]) -> SystemImporter:
    """An importer of files that hold all of the network."""

    def import_whole(weights: Weights, base: Weights | None = None) -> Weights:
        _no_base(base, name)
        return importer(weights)

    return import_whole


IMPORTERS: dict[str, SystemImporter] = {
    'rein': rein_system,
    'vltseg': vltseg_system,
    'clouds': clouds_system,
    'famix': famix_system,
    'soma': soma_system,
    'eomt': _whole('EoMT', import_eomt),
    'mask2former': mask2former_system,
    'segformer': _whole('SegFormer', import_segformer),
    'pidnet': _whole('PIDNet', import_pidnet),
    'ddrnet': _whole('DDRNet', import_ddrnet),
    'bisenetv2': _whole('BiSeNetV2', import_bisenetv2),
    'bisenetv2-coincheung': _whole('BiSeNetV2', import_bisenetv2_coincheung),
}
"""Importers of published checkpoints, by the `published` field of a system."""


def import_system(system: str, weights: Weights, base: Weights | None = None) -> Weights:
    """Import a published checkpoint for `system`, which must have a `published` layout."""
    return IMPORTERS[SYSTEMS[system].published](weights, base)


def load_system(model: SegmentationModel, weights: Weights, origin: str) -> None:
    """Load imported weights completely, or raise a DgssError that lists the differences.

    Patch kernels and position tables are resampled to the model's sizes.
    """
    encoder = model.encoder.resample(take_prefix(weights, 'encoder.'))
    rest = {key: value for key, value in weights.items() if not key.startswith('encoder.')}
    load_weights(model, {**_under('encoder.', encoder), **rest}, origin)


def _split(weights: Weights, prefixes: tuple[str, ...], source: str) -> dict[str, Weights]:
    parts = {prefix: take_prefix(weights, prefix) for prefix in prefixes}
    unknown = [key for key in weights if not key.startswith(prefixes)]
    absent = [f'{prefix}*' for prefix, part in parts.items() if not part]
    if unknown or absent:
        reason = f'it has no weights {", ".join(absent)}'
        if unknown:
            reason = f'unknown weights {shorten(unknown)}'
        raise DgssError(
            f'This is not {source}: {reason}; check that the file and the system belong together.'
        )
    return parts


def _under(prefix: str, weights: Mapping[str, torch.Tensor]) -> Weights:
    return {f'{prefix}{key}': value for key, value in weights.items()}


def _plain_vit(weights: Weights) -> Weights:
    if 'class_embedding' in weights or 'visual.class_embedding' in weights:
        # Rein's CLIP was trained with the class embedding added twice.
        return import_clip_vit(weights, class_embedding_twice=True)
    if 'blocks.0.attn.q_proj.weight' in weights or 'blocks.0.mlp.w3.weight' in weights:
        return import_eva02(weights)
    if any(key.endswith('blocks.0.attn.rel_pos_h') for key in weights):
        return import_sam(weights)
    return import_dinov2(weights)


def _one_encoder(inside: Weights, base: Weights | None, whose: str) -> Weights:
    if inside and base is not None:
        raise DgssError(
            f'this checkpoint {whose} holds its encoder already; leave the base file out.'
        )
    if not inside and base is None:
        raise _missing_base(whose)
    return inside or base or {}


def _missing_base(whose: str) -> DgssError:
    return DgssError(
        f'this checkpoint {whose} leaves the frozen encoder out; give the encoder file it was '
        'trained on with --base (for DINOv2-L the official dinov2_vitl14_pretrain.pth).'
    )


def _no_base(base: Weights | None, system: str) -> None:
    if base is not None:
        raise DgssError(f'a checkpoint of {system} needs no base file; leave it out.')


def _merge_soma(weights: Weights, name: str, residual: bool) -> torch.Tensor:
    """Remove adapter `name` from `weights`; return its layer's weight with the adapter merged."""
    lora_a, lora_b = (weights.pop(f'{name}.lora_{side}') for side in 'ab')
    weight = weights[f'{name}.weight']
    change = lora_b.double() @ lora_a.double()
    if residual:
        return (weight.double() + change).to(weight.dtype)
    left, values, right = torch.linalg.svd(weight.double(), full_matrices=False)
    kept = len(values) - len(lora_a)
    major = left[:, :kept] * values[:kept] @ right[:kept]
    return (major + change).to(weight.dtype)
