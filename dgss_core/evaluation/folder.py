"""The folder of an evaluation: results, report, and the predictions they are computed from."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from dgss_core.documents import dump_json, read_json
from dgss_core.errors import DgssError
from dgss_core.evaluation.assembly import FORMAT
from dgss_core.evaluation.counts import pack_arrays
from dgss_core.evaluation.store import SUFFIX, is_store
from dgss_core.files import is_empty, refuse_inputs, refuse_unwritable, write_whole
from dgss_core.paths import is_file, missing, reading, writing

RESULTS, COUNTS, REPORT = 'results.json', 'counts.npz', 'report.html'
JUNIT, LINES = 'criteria.xml', 'criteria.jsonl'
PREDICTIONS, TO_LABEL, CORRUPTIONS = 'predictions', 'label_next', 'corruptions'
LARGEST = 1 << 30
"""Bytes of a results.json that is read."""


class EvaluationFolder:
    """Results are replaced only with `overwrite`; predictions are kept and used again.

    Raises DgssError for a folder with other things in it, one that holds an input or cannot be
    written, and for results that would be replaced.
    """

    def __init__(self, path: Path, *, overwrite: bool, inputs: Iterable[Path]) -> None:
        self.path = path
        with writing(path, 'choose another folder'):
            self._check(overwrite, inputs)

    def _check(self, overwrite: bool, inputs: Iterable[Path]) -> None:
        path = self.path
        refuse_inputs(path, inputs)
        if path.is_symlink() or (path.exists() and not path.is_dir()):
            raise DgssError(f'{path} is no folder; name a folder of its own for the results.')
        refuse_unwritable(path)
        if not path.exists() or is_empty(path):
            return
        if not (path / PREDICTIONS).is_dir():
            raise DgssError(f'{path} is not empty and holds no evaluation; choose another folder.')
        for name in (RESULTS, COUNTS, REPORT, JUNIT, LINES):
            if (path / name).exists() and not overwrite:
                raise DgssError(
                    f'{path} holds the results of an evaluation; choose another folder, or pass '
                    '--overwrite to score its predictions again.'
                )
        if os.path.lexists(path / RESULTS):
            _check_results(path / RESULTS)
        elif not any(map(is_store, (path / PREDICTIONS).glob(f'*{SUFFIX}'))):
            for name in (COUNTS, REPORT, JUNIT, LINES):
                if os.path.lexists(path / name):
                    raise DgssError(
                        f'{path} holds {name}, but no evaluation; choose another folder.'
                    )

    def store(self, identity: str) -> Path:
        """The file of the predictions of `identity`, a line that names predictor and frames."""
        key = hashlib.sha256(identity.encode(errors='surrogateescape')).hexdigest()[:16]
        return self.path / PREDICTIONS / f'{key}{SUFFIX}'

    def write(self, results: Mapping[str, Any], counts: Iterable[tuple[str, np.ndarray]]) -> None:
        """Write the results, and the counts of their frames first. Raises DgssError.

        The report and the verdicts of an earlier run are removed, as they are not of these
        results. `counts`: as `to_arrays` gives them.
        """
        for name in (REPORT, JUNIT, LINES):
            with writing(self.path / name):
                (self.path / name).unlink(missing_ok=True)
        self.put(COUNTS, pack_arrays(counts))
        self.put(RESULTS, dump_json(results))

    def put(self, name: str, data: bytes) -> Path:
        """Write one file of the folder. Raises DgssError if that fails."""
        with writing(self.path / name):
            self.path.mkdir(parents=True, exist_ok=True)
            write_whole(self.path / name, data)
        return self.path / name


def read_results(folder: Path) -> dict[str, Any]:
    """The content of a `results.json`. Raises DgssError if it is missing or no evaluation."""
    advice = 'give the output of dgss evaluate'
    with reading(folder, advice):
        path = folder / RESULTS if folder.is_dir() else folder
        if folder.is_dir() and not os.path.lexists(path):
            raise DgssError(f'{folder} holds no {RESULTS}; {advice}.')
    if not is_file(path):
        raise missing('', path, advice)
    return _check_results(path)


def _check_results(path: Path) -> dict[str, Any]:
    content = read_json(path, LARGEST)
    if not isinstance(content, dict) or content.get('format') != FORMAT:
        raise DgssError(f'{path} was not written by dgss evaluate; choose another folder.')
    return content
