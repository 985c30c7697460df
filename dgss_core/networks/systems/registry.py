"""Every system by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from dgss_core import plugins
from dgss_core.errors import unknown
from dgss_core.labels import LabelSet
from dgss_core.networks.encoders import build_encoder
from dgss_core.networks.encoders.encoder import IMAGENET_MEAN, IMAGENET_STD
from dgss_core.networks.encoders.registry import encoder_licence
from dgss_core.networks.systems.clouds import MEAN, STD, clouds
from dgss_core.networks.systems.dgss import dgss_light, dgss_query, dgss_vit
from dgss_core.networks.systems.eomt import eomt
from dgss_core.networks.systems.famix import famix
from dgss_core.networks.systems.mask2former import mask2former
from dgss_core.networks.systems.model import SegmentationModel
from dgss_core.networks.systems.realtime import COINCHEUNG, bisenetv2, ddrnet, pidnet
from dgss_core.networks.systems.rein import rein
from dgss_core.networks.systems.segformer import segformer
from dgss_core.networks.systems.soma import soma
from dgss_core.networks.systems.vltseg import vltseg


@dataclass(frozen=True)
class System:
    """The parts of a system.

    Attributes:
        compose: builds the model from (encoder, label set, **sizes).
        encoder: name in `ENCODERS`, or of a plugin's encoder.
        adapter: what is trained inside the encoder, as shown by `dgss models`.
        head: as shown by `dgss models`.
        paper: where it was published.
        options: of the encoder.
        published: key in `importers.IMPORTERS` for checkpoints of its authors; empty if the
            authors published none in a known layout.
    """

    compose: Callable[..., SegmentationModel]
    encoder: str
    adapter: str
    head: str
    paper: str
    options: Mapping[str, Any] = field(default_factory=dict)
    published: str = ''

    @property
    def weights_licence(self) -> str:
        """Licence of the encoder's pre-trained weights; a published checkpoint has its own."""
        return encoder_licence(self.encoder)


IMAGENET = {'mean': IMAGENET_MEAN, 'std': IMAGENET_STD}


def _famix(encoder: str) -> System:
    options = {'output_stride': 16}
    return System(famix, encoder, 'last block', 'DeepLabV3+', 'FAMix, CVPR 2024', options, 'famix')


def _rein(encoder: str, **sizes: Any) -> System:
    options = {**IMAGENET, **sizes}
    return System(rein, encoder, 'Rein', 'Mask2Former', 'Rein, CVPR 2024', options, 'rein')


def _vltseg(encoder: str, patch: int) -> System:
    options = {'patch': patch, 'pyramid': 'learned', **IMAGENET}
    return System(vltseg, encoder, 'full', 'Mask2Former', 'VLTSeg, ACCV 2024', options, 'vltseg')


def _clouds(encoder: str) -> System:
    options = {'mean': MEAN, 'std': STD}
    return System(clouds, encoder, 'none', 'Mask2Former', 'CLOUDS, CVPR 2024', options, 'clouds')


def _eomt(encoder: str, tap: int) -> System:
    options = {'pyramid': 'none', 'taps': (tap,), 'keep_prefix': True}
    return System(eomt, encoder, 'full', 'EoMT', 'EoMT, CVPR 2025', options, 'eomt')


def _mask2former(encoder: str) -> System:
    return System(
        mask2former,
        encoder,
        'full',
        'Mask2Former',
        'Mask2Former, CVPR 2022',
        published='mask2former',
    )


def _segformer(encoder: str, width: int) -> System:
    compose = partial(segformer, width=width)
    return System(
        compose, encoder, 'full', 'all-MLP', 'SegFormer, NeurIPS 2021', published='segformer'
    )


def _pidnet(encoder: str, width: int = 128) -> System:
    compose = partial(pidnet, width=width)
    return System(compose, encoder, 'full', 'PIDNet', 'PIDNet, CVPR 2023', IMAGENET, 'pidnet')


def _ddrnet(encoder: str, width: int) -> System:
    compose = partial(ddrnet, width=width)
    return System(compose, encoder, 'full', 'DDRNet', 'DDRNet, 2021', IMAGENET, 'ddrnet')


def _bisenetv2(options: Mapping[str, Any], published: str) -> System:
    paper = 'BiSeNetV2, IJCV 2021'
    return System(bisenetv2, 'bisenetv2', 'full', 'BiSeNetV2', paper, options, published)


def _dgss(encoder: str) -> System:
    options = {'pyramid': 'none'}
    return System(dgss_vit, encoder, 'LoRA', 'ViT conv', 'after VFMSeg, AAAI 2025', options)


def _dgss_query(encoder: str, depth: int) -> System:
    options = {'pyramid': 'none', 'taps': (depth - 2,)}
    return System(dgss_query, encoder, 'LoRA', 'query', 'after QPrompt-R1, ICLR 2026', options)


SYSTEMS: dict[str, System] = {
    'famix-rn50': _famix('clip-rn50'),
    'famix-rn101': _famix('clip-rn101'),
    'rein-dinov2-s': _rein('dinov2-s'),
    'rein-dinov2-b': _rein('dinov2-b'),
    'rein-dinov2-l': _rein('dinov2-l'),
    'rein-eva02-l': _rein('eva02-l'),
    'rein-clip-l': _rein('clip-vit-l'),
    'rein-sam-h': _rein('sam-h'),
    'rein-resnet50': _rein('resnet50'),
    'rein-convnext-l': _rein('convnext-l', norms=True),
    'vltseg-eva02-clip-l': _vltseg('eva02-clip-l', 14),
    'vltseg-clip-b': _vltseg('clip-vit-b', 16),
    'vltseg-clip-l': _vltseg('clip-vit-l', 14),
    'clouds-convnext-l': _clouds('clip-convnext-l'),
    'clouds-rn50': _clouds('clip-rn50'),
    'clouds-rn101': _clouds('clip-rn101'),
    'soma-dinov2-l': System(
        soma, 'dinov2-l', 'SoMA', 'Mask2Former', 'SoMA, CVPR 2025', IMAGENET, 'soma'
    ),
    'eomt-dinov2-s': _eomt('dinov2-reg4-s', 7),
    'eomt-dinov2-b': _eomt('dinov2-reg4-b', 7),
    'eomt-dinov2-l': _eomt('dinov2-reg4-l', 19),
    'mask2former-swin-t': _mask2former('swin-t'),
    'mask2former-swin-s': _mask2former('swin-s'),
    'mask2former-swin-b': _mask2former('swin-b'),
    'mask2former-swin-l': _mask2former('swin-l'),
    'segformer-b0': _segformer('mit-b0', 256),
    'segformer-b1': _segformer('mit-b1', 256),
    'segformer-b2': _segformer('mit-b2', 768),
    'segformer-b3': _segformer('mit-b3', 768),
    'segformer-b4': _segformer('mit-b4', 768),
    'segformer-b5': _segformer('mit-b5', 768),
    'pidnet-s': _pidnet('pidnet-s'),
    'pidnet-m': _pidnet('pidnet-m'),
    'pidnet-l': _pidnet('pidnet-l', width=256),
    'ddrnet-23-slim': _ddrnet('ddrnet-23-slim', width=64),
    'ddrnet-23': _ddrnet('ddrnet-23', width=128),
    'bisenetv2': _bisenetv2(IMAGENET, 'bisenetv2'),
    'bisenetv2-coincheung': _bisenetv2(COINCHEUNG, 'bisenetv2-coincheung'),
    'dgss-dinov2-s': _dgss('dinov2-s'),
    'dgss-dinov2-b': _dgss('dinov2-b'),
    'dgss-dinov2-l': _dgss('dinov2-l'),
    'dgss-eva02-clip-l': _dgss('eva02-clip-l'),
    'dgss-clip-l': _dgss('clip-vit-l'),
    'dgss-dinov2-s-query': _dgss_query('dinov2-s', 12),
    'dgss-dinov2-b-query': _dgss_query('dinov2-b', 12),
    'dgss-dinov2-l-query': _dgss_query('dinov2-l', 24),
    'dgss-eva02-clip-l-query': _dgss_query('eva02-clip-l', 24),
    'dgss-clip-l-query': _dgss_query('clip-vit-l', 24),
    'dgss-mobilenetv2': System(dgss_light, 'mobilenetv2', 'full', 'light conv', 'ours'),
}


def systems() -> dict[str, System]:
    """`SYSTEMS`, and for each encoder NAME of a plugin `dgss-NAME`, which has the light head."""
    added = {
        f'dgss-{name}': System(dgss_light, name, 'full', 'light conv', 'a plugin')
        for name in plugins.plugins(plugins.ENCODERS)
    }
    return added | SYSTEMS


def build_system(
    name: str,
    label_set: str | LabelSet = 'cityscapes19',
    weights: str | Path | None = None,
    encoder_options: Mapping[str, Any] | None = None,
    **sizes: Any,
) -> SegmentationModel:
    """Build one of `systems()`.

    `weights` are for the encoder, as in `build_encoder`: None is random, 'pretrained' downloads
    them. `encoder_options` (`image_size`, `pad`, `inner_norm`, ...) go to the encoder, `sizes` to
    the function that composes the system. `label_set` is a name, a YAML file or a `LabelSet`.
    Raises DgssError for an unknown name, and as `build_encoder` does.
    """
    known = systems()
    if name not in known:
        raise unknown('system', name, known)
    system = known[name]
    labels = LabelSet.load(label_set) if isinstance(label_set, str) else label_set
    options = {**system.options, **(encoder_options or {})}
    return system.compose(build_encoder(system.encoder, weights, **options), labels, **sizes)
