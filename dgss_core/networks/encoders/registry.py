"""Every encoder by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dgss_core import plugins
from dgss_core.errors import DgssError, one_line, unknown
from dgss_core.networks.encoders.bisenetv2 import BiSeNetV2
from dgss_core.networks.encoders.clip_resnet import ClipResNet
from dgss_core.networks.encoders.ddrnet import DDRNet
from dgss_core.networks.encoders.encoder import CLIP_MEAN, CLIP_STD, Encoder
from dgss_core.networks.encoders.mit import MixTransformer
from dgss_core.networks.encoders.mobilenetv2 import MobileNetV2, form_of
from dgss_core.networks.encoders.pidnet import PIDNet
from dgss_core.networks.encoders.stages import StagedEncoder
from dgss_core.networks.encoders.swin import SwinTransformer
from dgss_core.networks.encoders.vit import VisionTransformer
from dgss_core.networks.encoders.vits import clip_vit, dinov2, dinov3, eva02, sam, siglip
from dgss_core.networks.encoders.weights import read_weights
from dgss_core.networks.importers.bisenetv2 import import_bisenetv2
from dgss_core.networks.importers.dual_resolution import import_ddrnet, import_pidnet
from dgss_core.networks.importers.encoders import (
    import_clip_resnet,
    import_clip_vit,
    import_dinov2,
    import_dinov3,
    import_eva02,
    import_sam,
    import_siglip,
    import_timm_stages,
    last_norm,
)
from dgss_core.networks.importers.keys import Weights, named, take_prefix
from dgss_core.networks.importers.mobilenetv2 import import_mobilenetv2
from dgss_core.networks.importers.segformer import import_mit, mit_form
from dgss_core.networks.importers.swin import import_swin

Options = Mapping[str, Any]


def _no_options(options: Options) -> dict[str, Any]:
    return {}


@dataclass(frozen=True)
class EncoderEntry:
    """How an encoder is built and where its weights come from.

    Attributes:
        network: builds the network from `sizes` and the caller's options.
        importer: renames published weights to the network's names.
        pretrained: source of `weights='pretrained'`, as in `read_weights`; empty if no library
            downloads such weights.
        licence: of the usual weights, as their publisher states it.
        sizes: default options of `network`.
        import_options: derives options of `importer` from the caller's options.
        form: derives options of `network` from published weights; those of the caller come first.
    """

    network: Callable[..., Encoder]
    importer: Callable[..., Weights]
    pretrained: str
    licence: str
    sizes: Options = field(default_factory=dict)
    import_options: Callable[[Options], dict[str, Any]] = _no_options
    form: Callable[[Weights], Options] = _no_options

    def build(self, weights: str | Path | None = None, **options: Any) -> Encoder:
        """Build the network and load `weights`, see `build_encoder`."""
        source = self.pretrained if weights == 'pretrained' else weights
        if source == '':
            raise DgssError(
                'No library downloads weights of this encoder; give the path of a published file '
                'as weights, or none for random ones.'
            )
        if source is None:
            return self.network(**{**self.sizes, **options})
        published = read_weights(source)
        with named(str(source)):
            state = self.importer(published, **self.import_options(options))
        encoder = self.network(**{**self.sizes, **self.form(published), **options})
        encoder.load_pretrained(state, str(source))
        if isinstance(encoder, VisionTransformer):
            encoder.last_norm = last_norm(published)
        return encoder


def _keep_pool(options: Options) -> dict[str, Any]:
    return {'attention_pool': options.get('embedding') is not None}


def _head_width(options: Options) -> dict[str, Any]:
    sizes = {key: options[key] for key in ('width', 'heads') if key in options}
    return {'head_width': sizes['width'] // sizes['heads']} if len(sizes) == 2 else {}


def _encoder_of(importer: Callable[[Weights], Weights]) -> Callable[[Weights], Weights]:
    """An importer of the encoder alone from one of files that hold a head too."""
    return lambda weights: take_prefix(importer(weights), 'encoder.')


def _drop_inner_norm(options: Options) -> dict[str, Any]:
    return {'drop_inner_norm': not options.get('inner_norm', True)}


APACHE, MIT = 'Apache-2.0', 'MIT'
NVIDIA = 'NVIDIA, research only'
DINOV3 = 'DINOv3 licence'
SMALL = {'width': 384, 'depth': 12, 'heads': 6}
BASE = {'width': 768, 'depth': 12, 'heads': 12}
LARGE = {'width': 1024, 'depth': 24, 'heads': 16}
HUGE = {'width': 1280, 'depth': 32, 'heads': 16}
REIN_TAPS, VLTSEG_TAPS = {'taps': (7, 11, 15, 23)}, {'taps': (9, 14, 19, 23)}
CLIP_NORMALISATION = {'mean': CLIP_MEAN, 'std': CLIP_STD}
PIDNET_L = {'width': 64, 'pooled': 112, 'stem_blocks': 3, 'branch_blocks': 4, 'light': False}


def _dinov2_reg4(size: str, sizes: Options) -> EncoderEntry:
    weights = f'timm:vit_{size}_patch14_reg4_dinov2.lvd142m'
    return EncoderEntry(dinov2, import_dinov2, weights, APACHE, {'registers': 4, **sizes})


def _dinov3(size: str, sizes: Options) -> EncoderEntry:
    weights = f'timm:vit_{size}_patch16_dinov3.lvd1689m'
    return EncoderEntry(dinov3, import_dinov3, weights, DINOV3, sizes, _head_width)


def _keep_last_norm(options: Options) -> dict[str, Any]:
    return {'last_norm': bool(options.get('norms'))}


def _stages(name: str, tag: str, size_multiple: int) -> EncoderEntry:
    sizes = {'name': name, 'size_multiple': size_multiple}
    weights = f'timm:{name}.{tag}'
    return EncoderEntry(StagedEncoder, import_timm_stages, weights, APACHE, sizes, _keep_last_norm)


def _dinov3_convnext(size: str) -> EncoderEntry:
    weights = f'timm:convnext_{size}.dinov3_lvd1689m'
    sizes = {'name': f'convnext_{size}', 'size_multiple': 32}
    return EncoderEntry(StagedEncoder, import_timm_stages, weights, DINOV3, sizes)


def _swin(weights: str, width: int, middle: int, heads: int, window: int) -> EncoderEntry:
    sizes = {
        'width': width,
        'depths': (2, 2, middle, 2),
        'heads': (heads, 2 * heads, 4 * heads, 8 * heads),
        'window': window,
    }
    return EncoderEntry(SwinTransformer, import_swin, f'timm:swin_{weights}', MIT, sizes)


def _mit(depths: tuple[int, ...], first: int = 64) -> EncoderEntry:
    widths = (32, 64, 160, 256) if first == 32 else (64, 128, 320, 512)
    sizes = {'widths': widths, 'depths': depths}
    return EncoderEntry(MixTransformer, import_mit, '', NVIDIA, sizes, form=mit_form)


ENCODERS: dict[str, EncoderEntry] = {
    'clip-rn50': EncoderEntry(
        ClipResNet,
        import_clip_resnet,
        'open_clip:RN50/openai',
        MIT,
        {'layers': (3, 4, 6, 3)},
        _keep_pool,
    ),
    'clip-rn101': EncoderEntry(
        ClipResNet,
        import_clip_resnet,
        'open_clip:RN101/openai',
        MIT,
        {'layers': (3, 4, 23, 3)},
        _keep_pool,
    ),
    'clip-vit-b': EncoderEntry(clip_vit, import_clip_vit, 'open_clip:ViT-B-16/openai', MIT, BASE),
    'clip-vit-l': EncoderEntry(
        clip_vit, import_clip_vit, 'open_clip:ViT-L-14/openai', MIT, LARGE | REIN_TAPS
    ),
    'clip-convnext-l': EncoderEntry(
        StagedEncoder,
        import_timm_stages,
        'open_clip:convnext_large_d_320/laion2b_s29b_b131k_ft_soup',
        MIT,
        {'name': 'convnext_large', 'size_multiple': 32, **CLIP_NORMALISATION},
    ),
    'eva02-clip-l': EncoderEntry(
        eva02,
        import_eva02,
        'timm:eva02_large_patch14_clip_224.merged2b',
        MIT,
        {'inner_norm': True, **LARGE, **VLTSEG_TAPS, **CLIP_NORMALISATION},
        _drop_inner_norm,
    ),
    'eva02-l': EncoderEntry(
        eva02,
        import_eva02,
        'timm:eva02_large_patch14_224.mim_m38m',
        MIT,
        {'inner_norm': False, **LARGE, **REIN_TAPS, **CLIP_NORMALISATION},
    ),
    'dinov2-s': EncoderEntry(
        dinov2, import_dinov2, 'timm:vit_small_patch14_dinov2.lvd142m', APACHE, SMALL
    ),
    'dinov2-b': EncoderEntry(
        dinov2, import_dinov2, 'timm:vit_base_patch14_dinov2.lvd142m', APACHE, BASE
    ),
    'dinov2-l': EncoderEntry(
        dinov2,
        import_dinov2,
        'timm:vit_large_patch14_dinov2.lvd142m',
        APACHE,
        LARGE | REIN_TAPS,
    ),
    'dinov2-reg4-s': _dinov2_reg4('small', SMALL),
    'dinov2-reg4-b': _dinov2_reg4('base', BASE),
    'dinov2-reg4-l': _dinov2_reg4('large', LARGE),
    'dinov3-s': _dinov3('small', SMALL),
    'dinov3-b': _dinov3('base', BASE),
    'dinov3-l': _dinov3('large', LARGE),
    'dinov3-convnext-t': _dinov3_convnext('tiny'),
    'dinov3-convnext-s': _dinov3_convnext('small'),
    'dinov3-convnext-b': _dinov3_convnext('base'),
    'dinov3-convnext-l': _dinov3_convnext('large'),
    'siglip-b': EncoderEntry(
        siglip, import_siglip, 'timm:vit_base_patch16_siglip_512.v2_webli', APACHE, BASE
    ),
    'siglip-l': EncoderEntry(
        siglip, import_siglip, 'timm:vit_large_patch16_siglip_512.v2_webli', APACHE, LARGE
    ),
    'sam-b': EncoderEntry(sam, import_sam, 'timm:samvit_base_patch16.sa1b', APACHE, BASE),
    'sam-l': EncoderEntry(sam, import_sam, 'timm:samvit_large_patch16.sa1b', APACHE, LARGE),
    'sam-h': EncoderEntry(sam, import_sam, 'timm:samvit_huge_patch16.sa1b', APACHE, HUGE),
    'resnet50': _stages('resnet50', 'a1_in1k', 1),
    'resnet101': _stages('resnet101', 'a1_in1k', 1),
    'mit-b0': _mit((2, 2, 2, 2), 32),
    'mit-b1': _mit((2, 2, 2, 2)),
    'mit-b2': _mit((3, 4, 6, 3)),
    'mit-b3': _mit((3, 4, 18, 3)),
    'mit-b4': _mit((3, 8, 27, 3)),
    'mit-b5': _mit((3, 6, 40, 3)),
    'swin-t': _swin('tiny_patch4_window7_224.ms_in1k', 96, 6, 3, 7),
    'swin-s': _swin('small_patch4_window7_224.ms_in1k', 96, 18, 3, 7),
    'swin-b': _swin('base_patch4_window12_384.ms_in22k', 128, 18, 4, 12),
    'swin-l': _swin('large_patch4_window12_384.ms_in22k', 192, 18, 6, 12),
    'convnext-b': _stages('convnext_base', 'fb_in22k_ft_in1k', 32),
    'convnext-l': _stages('convnext_large', 'fb_in22k_ft_in1k', 32),
    'mobilenetv2': EncoderEntry(
        MobileNetV2,
        import_mobilenetv2,
        'timm:mobilenetv2_100.ra_in1k',
        APACHE,
        form=lambda published: form_of(import_mobilenetv2(published)),
    ),
    'pidnet-s': EncoderEntry(PIDNet, _encoder_of(import_pidnet), '', APACHE),
    'pidnet-m': EncoderEntry(PIDNet, _encoder_of(import_pidnet), '', APACHE, {'width': 64}),
    'pidnet-l': EncoderEntry(PIDNet, _encoder_of(import_pidnet), '', APACHE, PIDNET_L),
    'ddrnet-23-slim': EncoderEntry(DDRNet, _encoder_of(import_ddrnet), '', APACHE),
    'ddrnet-23': EncoderEntry(DDRNet, _encoder_of(import_ddrnet), '', APACHE, {'width': 64}),
    'bisenetv2': EncoderEntry(BiSeNetV2, _encoder_of(import_bisenetv2), '', APACHE),
}


def build_encoder(name: str, weights: str | Path | None = None, **options: Any) -> Encoder:
    """Build one of `ENCODERS`, or an encoder of a plugin (`dgss.encoders`).

    `weights` is None (random), 'pretrained' (the entry's download), `timm:<model>[.<tag>]`,
    `open_clip:<model>/<tag>`, or the path of a file in the layout of its authors, of timm or of
    open_clip. `options` are those of the network (`patch`, `image_size`, `taps`,
    `output_stride`, ...; see its module). Raises DgssError for an unknown name, for weights that
    do not fit completely.
    """
    added = plugins.plugins(plugins.ENCODERS)
    if name in added:
        build = plugins.load_plugin(plugins.ENCODERS, name)
        try:
            return build(weights=weights, **options)
        except FileNotFoundError as error:
            raise DgssError(
                f'The encoder {name} finds no weights at {one_line(str(weights))}; give weights '
                'the path of a file, or null for random ones.'
            ) from error
    if name not in ENCODERS:
        raise unknown('encoder', name, [*ENCODERS, *added])
    return ENCODERS[name].build(weights, **options)


def encoder_licence(name: str) -> str:
    """Licence of the encoder's pre-trained weights; the package of a plugin states its own."""
    if name in plugins.plugins(plugins.ENCODERS):
        return 'see its package'
    return ENCODERS[name].licence
