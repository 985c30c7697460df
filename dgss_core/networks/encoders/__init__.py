"""Encoders: images in, feature maps out."""

from dgss_core.networks.encoders.encoder import Encoder
from dgss_core.networks.encoders.registry import ENCODERS, build_encoder

__all__ = ['ENCODERS', 'Encoder', 'build_encoder']
