"""Systems: encoders, adapters and heads composed as published, and our own."""

from dgss_core.networks.systems.model import SegmentationModel
from dgss_core.networks.systems.registry import SYSTEMS, System, build_system, systems

__all__ = ['SYSTEMS', 'SegmentationModel', 'System', 'build_system', 'systems']
