"""`dgss data check`: verify a copy of a dataset."""

from __future__ import annotations

import os
import sys
from contextlib import closing
from pathlib import Path

import numpy as np
from rich.table import Table

from dgss_core.commands.limits import at_least
from dgss_core.commands.progress import with_progress
from dgss_core.commands.tables import print_table
from dgss_core.datasets.check import CheckReport, examine_all, report_on
from dgss_core.datasets.contents import class_shares
from dgss_core.datasets.layout import Layout, load_layout
from dgss_core.datasets.matching import refuse_dead_folders
from dgss_core.datasets.pairs import Pairs
from dgss_core.datasets.registry import is_copy
from dgss_core.datasets.storage import Storage
from dgss_core.errors import DgssError, cause, plural
from dgss_core.files import Kind, refuse_file, write_whole
from dgss_core.images.compressed import encode_jpeg
from dgss_core.images.paint import colorize, contact_sheet, overlay

SHOWN = 20
ON_SHEET = 3
MARK = b'dgss data check'
"""Comment in the JPEG of a sheet, by which it is known."""


def check(
    name: str,
    root: Path,
    *,
    split: str | None = None,
    mapping: str | None = None,
    sample: int = 0,
    sheet: Path = Path('sheet.jpg'),
    good: Path | None = None,
    threads: int = 0,
) -> int:
    """Verify a copy of a dataset: counts, sizes, palettes, ids outside the map, damaged files.

    Prints a table of its splits, the share of every class in each, and a sentence per problem, and
    draws a sheet of frames with their labels.

    Args:
        name: a dataset, or the path of your own YAML file
        root: its folder or zip, as downloaded
        split: check only this split (default: all splits found)
        mapping: label map, if the dataset has several
        sample: read only this number of frames of each split, evenly spread; 0 reads all
        sheet: JPEG to write; only an earlier sheet is replaced
        good: write a list of the frames without a problem, to use as a listing for training
        threads: CPU threads, 0 for all cores

    Returns:
        0, or 1 if there are problems.
    """
    if not is_copy(name):
        raise DgssError(f'{name} is no copy of a dataset; there is nothing to check.')
    at_least(0, sample=sample, threads=threads)
    layout, storage = load_layout(name), Storage(root)
    datasets = _open(layout, storage, split, mapping)
    refuse_file(sheet, SHEET)
    if good is not None:
        refuse_file(good, _listing_of(datasets))
    reports = []
    for part, dataset in datasets.items():
        count = min(sample, len(dataset)) or len(dataset)
        indices = np.linspace(0, len(dataset) - 1, count).round().astype(int).tolist()
        findings = examine_all(dataset, indices, threads or os.cpu_count() or 1)
        with closing(with_progress(findings, f'{layout.title} {part}', count)) as seen:
            reports.append(report_on(part, dataset, seen))
    _print(layout, reports)
    _write_sheet(sheet, datasets, reports)
    if good is not None:
        _write(good, '\n'.join(n for report in reports for n in report.good).encode() + b'\n')
    return 1 if any(report.problems for report in reports) else 0


def _open(
    layout: Layout, storage: Storage, split: str | None, mapping: str | None
) -> dict[str, Pairs]:
    """Open the splits in the storage; DgssError if `split`, or every split, is missing."""
    datasets, failure = {}, None
    for part in [split] if split else layout.splits:
        refuse_dead_folders(layout.split(part), storage)
        try:
            datasets[part] = Pairs(layout, storage, part, mapping=mapping, labelled=False)
        except DgssError as error:
            failure = failure or error
    if failure and not datasets:
        raise failure
    return datasets


COMMENT = b'\xff\xfe' + (len(MARK) + 2).to_bytes(2, 'big') + MARK
SHEET = Kind(
    'a sheet of dgss data check',
    lambda path: '' if path.read_bytes()[2:].startswith(COMMENT) else 'it has no mark of one',
)


def _listing_of(datasets: dict[str, Pairs]) -> Kind:
    names = {pair.name for dataset in datasets.values() for pair in dataset.pairs}

    def why_not(path: Path) -> str:
        lines = path.read_text(errors='replace').splitlines()
        others = [line for line in lines if line not in names]
        return f'it holds {others[0]!r}' if others else ''

    return Kind('a list of frames of this dataset', why_not)


def _print(layout: Layout, reports: list[CheckReport]) -> None:
    absent = [part for part in layout.splits if part not in {r.split for r in reports}]
    notes = [f'not here: {", ".join(absent)}'] if absent else []
    notes += ['* an unusual size'] if any('*' in _sizes(r, layout) for r in reports) else []
    title = f'{layout.title} ({layout.source})' if layout.source else layout.title
    table = Table(title=title, caption='; '.join(notes), box=None)
    for column in ('split', 'frames', 'published', 'without labels', 'read', 'good', 'sizes'):
        table.add_column(
            column, justify='left' if column in ('split', 'sizes') else 'right', no_wrap=True
        )
    for report in reports:
        table.add_row(
            report.split,
            str(report.frames),
            str(report.expected or ''),
            str(report.gaps or ''),
            str(report.read),
            str(len(report.good)),
            _sizes(report, layout),
        )
    print_table(table)
    for report in reports:
        if report.pixels.any():
            print(f'{report.split}: {class_shares(layout.label_set, report.pixels)}')
        if report.void:
            print(
                f'{report.split}: {len(report.void)} of {report.read} frames have no labelled '
                f'pixel ({", ".join(report.void[:3])}{", ..." if len(report.void) > 3 else ""})'
            )
    problems = [problem for report in reports for problem in report.problems]
    for problem in problems[:SHOWN]:
        print(problem, file=sys.stderr)
    if len(problems) > SHOWN:
        print(f'... and {len(problems) - SHOWN} more problems', file=sys.stderr)
    print('nothing is wrong' if not problems else plural(len(problems), 'problem'))


def _sizes(report: CheckReport, layout: Layout) -> str:
    """The four most frequent sizes; a star marks sizes that are unusual for the dataset."""
    return ', '.join(
        f'{size[0]}x{size[1]}{"*" if layout.sizes and size not in layout.sizes else ""}: {count}'
        for size, count in report.sizes.most_common(4)
    )


def _write_sheet(path: Path, datasets: dict[str, Pairs], reports: list[CheckReport]) -> None:
    """Draw a few good frames of every split, each beside its labels."""
    rows, captions, label_set = [], [], None
    for report in reports:
        dataset, names = datasets[report.split], set(report.good)
        places = [i for i, pair in enumerate(dataset.pairs) if pair.name in names]
        few = np.linspace(0, len(places) - 1, min(ON_SHEET, len(places))).round().astype(int)
        for index in (places[i] for i in few):
            frame, label_set = dataset[index], dataset.label_set
            painted = overlay(frame.image, frame.labels, label_set)
            rows.append([frame.image, painted, colorize(frame.labels, label_set)])
            captions.append(f'{report.split}  {frame.name}  {frame.condition}')
    if rows:
        columns = ('image', 'both', 'labels')
        jpeg = encode_jpeg(contact_sheet(rows, columns, captions, label_set))
        _write(path, jpeg[:2] + COMMENT + jpeg[2:])
        print(f'sheet: {path}')


def _write(path: Path, data: bytes) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, data)
    except OSError as error:
        raise DgssError(f'{path} cannot be written: {cause(error)}; name another file.') from error
