"""A procedural street drive with exact labels and depth."""

from dgss_core.synthetic.drive import StreetDrive, SyntheticFrame
from dgss_core.synthetic.lighting import CONDITIONS

__all__ = ['CONDITIONS', 'StreetDrive', 'SyntheticFrame']
