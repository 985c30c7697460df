"""Every encoder by name."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from torch import nn

from dgss_core import plugins
from dgss_core.errors import unknown
from dgss_core.networks.encoders.clip_resnet import ClipResNet
from dgss_core.networks.encoders.encoder import CLIP_MEAN, CLIP_STD
from dgss_core.networks.encoders.mobilenetv2 import MobileNetV2
from dgss_core.networks.encoders.stages import StagedEncoder
from dgss_core.networks.encoders.vits import clip_vit, dinov2, eva02, sam, siglip
from dgss_core.networks.encoders.weights import read_weights
from dgss_core.networks.importers.encoders import (
    import_clip_resnet,
    import_clip_vit,
    import_dinov2,
    import_eva02,
    import_sam,
    import_siglip,
    import_timm_stages,
)
from dgss_core.networks.importers.keys import Weights

Builder = Callable[..., Any]
Importer = Callable[[Weights, dict], Weights]


def _entry(network: Builder, importer: Importer, pretrained: str, **sizes: Any) -> Builder:
    def build(weights: str | Path | None = None, **options: Any) -> nn.Module:
        encoder = network(**{**sizes, **options})
        if weights is not None:
            source = pretrained if weights == 'pretrained' else weights
            state = importer(read_weights(source), options)
            encoder.load_pretrained(state, str(source))
        return encoder

    return build


def _dinov2(timm_name: str, width: int, depth: int, heads: int, **sizes: Any) -> Builder:
    pretrained = f'timm:{timm_name}.lvd142m'
    return _entry(
        dinov2,
        lambda state, _: import_dinov2(state),
        pretrained,
        width=width,
        depth=depth,
        heads=heads,
        **sizes,
    )


def _clip_vit(model: str, width: int, depth: int, heads: int, **sizes: Any) -> Builder:
    return _entry(
        clip_vit,
        lambda state, _: import_clip_vit(state),
        f'open_clip:{model}/openai',
        width=width,
        depth=depth,
        heads=heads,
        **sizes,
    )


def _clip_resnet(model: str, layers: tuple[int, ...]) -> Builder:
    def convert(state: Weights, options: dict) -> Weights:
        return import_clip_resnet(state, attention_pool=options.get('embedding') is not None)

    return _entry(ClipResNet, convert, f'open_clip:{model}/openai', layers=layers)


def _eva02(pretrained: str, inner_norm: bool, taps: tuple[int, ...], **sizes: Any) -> Builder:
    def convert(state: Weights, options: dict) -> Weights:
        return import_eva02(state, inner_norm and not options.get('inner_norm', True))

    return _entry(
        eva02,
        convert,
        pretrained,
        width=1024,
        depth=24,
        heads=16,
        inner_norm=inner_norm,
        taps=taps,
        **sizes,
    )


def _siglip(timm_name: str, width: int, depth: int, heads: int) -> Builder:
    return _entry(
        siglip,
        lambda state, _: import_siglip(state),
        f'timm:{timm_name}.v2_webli',
        width=width,
        depth=depth,
        heads=heads,
    )


def _sam(timm_name: str, width: int, depth: int, heads: int) -> Builder:
    return _entry(
        sam,
        lambda state, _: import_sam(state),
        f'timm:{timm_name}.sa1b',
        width=width,
        depth=depth,
        heads=heads,
    )


def _stages(name: str, pretrained: str, size_multiple: int, **sizes: Any) -> Builder:
    return _entry(
        StagedEncoder,
        lambda state, _: import_timm_stages(state),
        pretrained,
        name=name,
        size_multiple=size_multiple,
        **sizes,
    )


REIN_TAPS, VLTSEG_TAPS = (7, 11, 15, 23), (9, 14, 19, 23)

ENCODERS: dict[str, Builder] = {
    'clip-rn50': _clip_resnet('RN50', (3, 4, 6, 3)),
    'clip-rn101': _clip_resnet('RN101', (3, 4, 23, 3)),
    'clip-vit-b': _clip_vit('ViT-B-16', 768, 12, 12),
    'clip-vit-l': _clip_vit('ViT-L-14', 1024, 24, 16, taps=REIN_TAPS),
    'clip-convnext-l': _stages(
        'convnext_large',
        'open_clip:convnext_large_d_320/laion2b_s29b_b131k_ft_soup',
        32,
        mean=CLIP_MEAN,
        std=CLIP_STD,
    ),
    'eva02-clip-l': _eva02(
        'timm:eva02_large_patch14_clip_224.merged2b',
        inner_norm=True,
        taps=VLTSEG_TAPS,
        mean=CLIP_MEAN,
        std=CLIP_STD,
    ),
    'eva02-l': _eva02(
        'timm:eva02_large_patch14_224.mim_m38m',
        inner_norm=False,
        taps=REIN_TAPS,
        mean=CLIP_MEAN,
        std=CLIP_STD,
    ),
    'dinov2-s': _dinov2('vit_small_patch14_dinov2', 384, 12, 6),
    'dinov2-b': _dinov2('vit_base_patch14_dinov2', 768, 12, 12),
    'dinov2-l': _dinov2('vit_large_patch14_dinov2', 1024, 24, 16, taps=REIN_TAPS),
    'siglip-b': _siglip('vit_base_patch16_siglip_512', 768, 12, 12),
    'siglip-l': _siglip('vit_large_patch16_siglip_512', 1024, 24, 16),
    'sam-b': _sam('samvit_base_patch16', 768, 12, 12),
    'sam-l': _sam('samvit_large_patch16', 1024, 24, 16),
    'sam-h': _sam('samvit_huge_patch16', 1280, 32, 16),
    'resnet50': _stages('resnet50', 'timm:resnet50.a1_in1k', 1),
    'resnet101': _stages('resnet101', 'timm:resnet101.a1_in1k', 1),
    'convnext-b': _stages('convnext_base', 'timm:convnext_base.fb_in22k_ft_in1k', 32),
    'convnext-l': _stages('convnext_large', 'timm:convnext_large.fb_in22k_ft_in1k', 32),
    'mobilenetv2': MobileNetV2,
}


def build_encoder(name: str, weights: str | Path | None = None, **options: Any) -> nn.Module:
    """Build one of `ENCODERS`, or an encoder of a plugin (`dgss.encoders`).

    `weights` is None (random), 'pretrained' (the usual download), `timm:<model>[.<tag>]`,
    `open_clip:<model>/<tag>`, or the path of a file in the layout of its first publication, of
    timm or of open_clip. `options` are those of the network (`patch`, `image_size`, `taps`,
    `output_stride`, ...; see its module). Raises DgssError for an unknown name, and for weights
    that do not fit completely.
    """
    added = plugins.plugins(plugins.ENCODERS)
    if name in added:
        return plugins.load_plugin(plugins.ENCODERS, name)(weights=weights, **options)
    if name not in ENCODERS:
        raise unknown('encoder', name, [*ENCODERS, *added])
    return ENCODERS[name](weights=weights, **options)
