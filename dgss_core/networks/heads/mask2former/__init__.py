"""Mask2Former (Cheng et al., CVPR 2022) in plain PyTorch."""

from dgss_core.networks.heads.mask2former.head import Mask2FormerHead

__all__ = ['Mask2FormerHead']
