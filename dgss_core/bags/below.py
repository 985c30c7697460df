"""Find the bags in a folder and below it."""

from __future__ import annotations

from pathlib import Path

from dgss_core.bags.bag import is_bag
from dgss_core.bags.metadata import METADATA
from dgss_core.errors import DgssError
from dgss_core.images.folder import natural
from dgss_core.paths import is_folder, refuse_dead_links


def bags_at(path: Path) -> list[Path]:
    """The bag at a path, or all bags in the folders below it, in natural order of their names.

    Raises DgssError for a folder of recordings without metadata that also has bags below it, and
    for a link that may be a folder and whose target is gone.
    """
    if not is_folder(path):
        return [path]
    return _bags_in(path) or [path]


def _bags_in(folder: Path) -> list[Path]:
    if is_bag(folder) and (folder / METADATA).is_file():
        return [folder]
    # A link to a bag is one; other links are not followed, as they may lead back.
    entries = sorted(folder.iterdir(), key=natural)
    refuse_dead_links(entry for entry in entries if not entry.suffix)
    below = [entry for entry in entries if entry.is_dir()]
    found = [bag for entry in below for bag in _bags_below(entry)]
    if not is_bag(folder):
        return found
    if found:
        raise DgssError(
            f'{folder} holds recordings, and bags in folders below; name them one by one.'
        )
    return [folder]


def _bags_below(folder: Path) -> list[Path]:
    if folder.is_symlink():
        return [folder] if is_bag(folder) else []
    return _bags_in(folder)
