"""Datasets: labelled driving frames as numpy arrays, one short YAML file per dataset.

Reads folders and zips as downloaded, checks them, and maps their ids to a label set. No torch.
Imports `inputs`, `bags`, `images`, `synthetic` and the modules below them.
"""

from dgss_core.datasets.pairs import Pairs
from dgss_core.datasets.registry import DATASETS, build_dataset
from dgss_core.datasets.sample import Dataset, Sample
from dgss_core.datasets.synthetic import Synthetic
from dgss_core.datasets.unlabelled import Unlabelled

__all__ = ['DATASETS', 'Dataset', 'Pairs', 'Sample', 'Synthetic', 'Unlabelled', 'build_dataset']
