"""Datasets: labelled driving frames as numpy arrays, one short file per dataset."""

from dgss_core.datasets.camvid import CamVid
from dgss_core.datasets.kitti import Kitti
from dgss_core.datasets.sample import Dataset, Sample
from dgss_core.datasets.synthetic import Synthetic

__all__ = ['CamVid', 'Dataset', 'Kitti', 'Sample', 'Synthetic']
