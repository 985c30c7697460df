"""A procedural street drive whose labels and depth are exact by construction."""

from dgss_core.synthetic.drive import StreetDrive, SyntheticFrame
from dgss_core.synthetic.lighting import CONDITIONS

__all__ = ['CONDITIONS', 'StreetDrive', 'SyntheticFrame']
