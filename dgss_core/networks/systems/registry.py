"""Every system by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dgss_core import plugins
from dgss_core.errors import unknown
from dgss_core.labels import LabelSet
from dgss_core.networks.encoders import build_encoder
from dgss_core.networks.encoders.encoder import IMAGENET_MEAN, IMAGENET_STD
from dgss_core.networks.systems.clouds import MEAN, STD, clouds
from dgss_core.networks.systems.dgss import dgss_light, dgss_vit
from dgss_core.networks.systems.famix import famix
from dgss_core.networks.systems.model import SegmentationModel
from dgss_core.networks.systems.rein import rein
from dgss_core.networks.systems.soma import soma
from dgss_core.networks.systems.vltseg import vltseg


@dataclass(frozen=True)
class System:
    """How a system is put together.

    Attributes:
        compose: (encoder, label set, **sizes) to the model.
        encoder: its name in `ENCODERS`.
        adapter: what is trained inside the encoder, in words.
        head: in words.
        paper: where it was published.
        options: of the encoder.
    """

    compose: Callable[..., SegmentationModel]
    encoder: str
    adapter: str
    head: str
    paper: str
    options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def weights_licence(self) -> str:
        """The terms of the encoder's pre-trained weights, not of a published whole."""
        return ENCODER_LICENCES[self.encoder.partition('-')[0]]


IMAGENET = {'mean': IMAGENET_MEAN, 'std': IMAGENET_STD}


def _famix(encoder: str) -> System:
    options = {'output_stride': 16}
    return System(famix, encoder, 'last block', 'DeepLabV3+', 'FAMix, CVPR 2024', options)


def _rein(encoder: str) -> System:
    return System(rein, encoder, 'Rein', 'Mask2Former', 'Rein, CVPR 2024', IMAGENET)


def _vltseg(encoder: str, patch: int) -> System:
    options = {'patch': patch, 'pyramid': 'learned', **IMAGENET}
    return System(vltseg, encoder, 'full', 'Mask2Former', 'VLTSeg, ACCV 2024', options)


def _clouds(encoder: str) -> System:
    options = {'mean': MEAN, 'std': STD}
    return System(clouds, encoder, 'none', 'Mask2Former', 'CLOUDS, CVPR 2024', options)


def _dgss(encoder: str) -> System:
    options = {'pyramid': 'none'}
    return System(dgss_vit, encoder, 'LoRA', 'ViT conv', 'after VFMSeg, AAAI 2025', options)


ENCODER_LICENCES = {
    'clip': 'MIT',
    'convnext': 'Apache-2.0',
    'dinov2': 'Apache-2.0',
    'eva02': 'MIT',
    'mobilenetv2': 'Apache-2.0',
    'resnet50': 'Apache-2.0',
    'sam': 'Apache-2.0',
}
"""The terms of the usual download by the family of the encoder, as its publisher states them."""

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
    'rein-convnext-l': _rein('convnext-l'),
    'vltseg-eva02-clip-l': _vltseg('eva02-clip-l', 14),
    'vltseg-clip-b': _vltseg('clip-vit-b', 16),
    'vltseg-clip-l': _vltseg('clip-vit-l', 14),
    'clouds-convnext-l': _clouds('clip-convnext-l'),
    'clouds-rn50': _clouds('clip-rn50'),
    'clouds-rn101': _clouds('clip-rn101'),
    'soma-dinov2-l': System(soma, 'dinov2-l', 'SoMA', 'Mask2Former', 'SoMA, CVPR 2025', IMAGENET),
    'dgss-dinov2-s': _dgss('dinov2-s'),
    'dgss-dinov2-b': _dgss('dinov2-b'),
    'dgss-dinov2-l': _dgss('dinov2-l'),
    'dgss-eva02-clip-l': _dgss('eva02-clip-l'),
    'dgss-clip-l': _dgss('clip-vit-l'),
    'dgss-mobilenetv2': System(dgss_light, 'mobilenetv2', 'full', 'light conv', 'ours'),
}


def systems() -> dict[str, System]:
    """`SYSTEMS`, and `dgss-NAME` for the encoder NAME of each plugin: with the light head."""
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

    `weights` are the encoder's, as in `build_encoder`: None is random, 'pretrained' the usual
    download. `encoder_options` (`image_size`, `pad`, `inner_norm`, ...) go to the encoder, `sizes`
    to the function that composes the system. Raises DgssError for an unknown name.
    """
    known = systems()
    if name not in known:
        raise unknown('system', name, known)
    system = known[name]
    labels = LabelSet.load(label_set) if isinstance(label_set, str) else label_set
    options = {**system.options, **(encoder_options or {})}
    return system.compose(build_encoder(system.encoder, weights, **options), labels, **sizes)
