"""Labels of what lies outside the distribution: a folder of PNGs by the names of the frames."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from dgss_core.errors import missing_error
from dgss_core.evaluation.frames import files_hash
from dgss_core.images.frames import read_labels


class OodFolder:
    """NAME.png for the frame NAME: uint8, 1 outside the distribution, 0 inside, 255 unlabelled.

    The format of SegmentMeIfYouCan (Chan et al., NeurIPS 2021). Subfolders are part of the name.
    Raises DgssError for a folder without PNGs.
    """

    def __init__(self, folder: Path) -> None:
        files = folder.rglob('*.png') if folder.is_dir() else ()
        self._files = {str(f.relative_to(folder).with_suffix('')): f for f in files}
        if not self._files:
            raise missing_error(
                folder, f'{folder} holds no PNGs; name the folder that holds the OOD labels.'
            )
        self.folder = folder

    def __contains__(self, name: str) -> bool:
        return name in self._files

    @property
    def fingerprint(self) -> str:
        """It changes with the files."""
        return files_hash(self.folder, self._files.values())

    def read(self, name: str) -> np.ndarray:
        """The labels of a frame, uint8 (H, W). Raises DgssError for a file that is damaged."""
        return read_labels(self._files[name])

    def unused(self, names: Iterable[str]) -> list[str]:
        """The files that belong to none of the frames `names`."""
        return sorted(self._files.keys() - {*names})
