"""Every dataset by name."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any

from dgss_core import plugins
from dgss_core.datasets.layout import CATALOG, load_layout
from dgss_core.datasets.pairs import Pairs
from dgss_core.datasets.sample import Dataset
from dgss_core.datasets.synthetic import SYNTHETIC, Synthetic
from dgss_core.datasets.unlabelled import UNLABELLED, Unlabelled
from dgss_core.errors import DgssError

DATASETS = (*sorted(path.stem for path in CATALOG.glob('*.yaml')), SYNTHETIC, UNLABELLED)
"""The built-in names of `build_dataset`."""


def takes_protocol_map(name: str | Path) -> bool:
    """Whether an evaluation protocol chooses the label map of a dataset, as for Mapillary.

    Raises DgssError for a name that `build_dataset` does not know.
    """
    return is_copy(name) and load_layout(name).protocol_map


def is_copy(name: str | Path) -> bool:
    """Whether a dataset is read from files by its layout: not rendered, nor of a plugin."""
    rendered = name in (SYNTHETIC, UNLABELLED)
    return not rendered and str(name) not in plugins.plugins(plugins.DATASETS)


def build_dataset(
    name: str | Path,
    root: str | Path | None = None,
    split: str | None = None,
    **options: Any,
) -> Dataset:
    """Open one split of a dataset.

    Args:
        name: one of `DATASETS`, a dataset of a plugin (`dgss.datasets`), or the path of a YAML
            file
        root: the folder or zip as downloaded; for `unlabelled` a folder of images, a video or a
            bag; None for `synthetic`
        split: None is the first one; `unlabelled` has no splits
        options: those of `Pairs` (condition, mapping, listing, labelled), `Synthetic` (frames,
            conditions, seeds, step, width, height) or `Unlabelled` (topic, every,
            label_set)

    Raises:
        DgssError: unknown name, split or option, and a root that is missing or does not fit.
    """
    if str(name) in plugins.plugins(plugins.DATASETS):
        return plugins.load_plugin(plugins.DATASETS, str(name))(root, split, **options)
    kinds: dict[Any, Callable[..., Dataset]] = {SYNTHETIC: Synthetic, UNLABELLED: Unlabelled}
    kind = kinds.get(name, Pairs)
    known = set(inspect.signature(kind).parameters)
    if unknown := set(options) - known:
        raise DgssError(f'{name} has no option {", ".join(sorted(unknown))}; leave it out.')
    if name == SYNTHETIC:
        return Synthetic.of_split(split, **options)
    if root is None:
        raise DgssError(f'{name} needs a root: the folder or zip that holds the dataset.')
    if name == UNLABELLED:
        return Unlabelled(root, **options)
    return Pairs(load_layout(name), root, split, **options)
