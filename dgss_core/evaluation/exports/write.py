"""Writes an evaluation in the formats that are asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from dgss_core.errors import DgssError, cause
from dgss_core.evaluation.exports import fiftyone_dataset, foxglove_bags, rerun_recordings
from dgss_core.evaluation.exports.frames import Drive, drives
from dgss_core.evaluation.frames import Sets
from dgss_core.evaluation.run import Evaluation
from dgss_core.files import Kind, refuse_replacing
from dgss_core.labels import LabelSet

Format = Literal['rerun', 'fiftyone', 'foxglove']


@dataclass(frozen=True)
class Export:
    """`kind`: of its folder. `require`: raises DgssError if a library is missing."""

    folder: str
    kind: Kind
    write: Callable[[Path, Iterable[Drive], LabelSet], None]
    require: Callable[[], Any] = lambda: None


EXPORTS: Mapping[Format, Export] = {
    'rerun': Export(
        rerun_recordings.FOLDER,
        rerun_recordings.RECORDINGS,
        rerun_recordings.write_recordings,
        rerun_recordings.require_rerun,
    ),
    'fiftyone': Export(
        fiftyone_dataset.FOLDER, fiftyone_dataset.DATASET, fiftyone_dataset.write_dataset
    ),
    'foxglove': Export(foxglove_bags.FOLDER, foxglove_bags.BAGS, foxglove_bags.write_bags),
}


def check_exports(formats: Sequence[Format], output: Path) -> None:
    """Raise DgssError, before anything is evaluated, for what could not be written after it."""
    for name in formats:
        export = EXPORTS[name]
        export.require()
        refuse_replacing(output / export.folder, export.kind, overwrite=True)


def write_exports(
    formats: Sequence[Format],
    output: Path,
    sets: Sets,
    labels: LabelSet,
    done: Evaluation,
) -> list[Path]:
    """Write each of the formats to a folder of its own in `output`; returns these.

    `labels`: the label set of the predictions. Raises DgssError if one cannot be written.
    """
    written = []
    for name in dict.fromkeys(formats):
        export = EXPORTS[name]
        try:
            export.write(output / export.folder, drives(sets, labels, done), done.label_set)
        except OSError as error:
            raise DgssError(
                f'{output / export.folder} cannot be written: {cause(error)}; free some room, or '
                'choose another folder.'
            ) from error
        written.append(output / export.folder)
    return written
