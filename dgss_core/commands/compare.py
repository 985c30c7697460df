"""`dgss compare`: evaluations of the same frames, side by side."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from dgss_core.documents import read_json
from dgss_core.errors import DgssError
from dgss_core.evaluation.comparison import Run
from dgss_core.evaluation.comparison import compare as compare_runs
from dgss_core.files import Kind, refuse_file, write_whole

FORMAT = 'dgss-comparison-1'
SURE = 0.05
"""A difference with a smaller p is marked."""
SHOWN = 5
"""Frames that changed most, as printed; the file lists more."""
LARGEST = 1 << 26
"""Bytes of a comparison."""


def compare(
    first: Path,
    second: Path,
    *,
    more: list[Path] | None = None,
    output: Path | None = None,
    resamples: int = 1000,
    seed: int = 0,
) -> None:
    """Show what differs between evaluations of the same frames, and how surely.

    Every difference is the later one minus the first. Its interval and p come from a paired
    bootstrap over drives, or over frames of one drive.

    Args:
        first: folder of dgss evaluate, with which the others are compared
        second: another one
        more: further ones
        output: JSON file to write, with every score, class, condition and changed frame
        resamples: of the bootstrap
        seed: of the resamples
    """
    if resamples < 2:
        raise DgssError(f'--resamples is {resamples}; give at least 2.')
    folders = [second, *(more or [])]
    if output is not None:
        refuse_file(output, COMPARISON, [first, *folders])
    base = Run.load(first)
    found = []
    for folder in folders:
        found.append(compare_runs(Run.load(folder), base, resamples=resamples, seed=seed))
        _print(found[-1])
    if output is not None:
        document = {'format': FORMAT, 'seed': seed, 'comparisons': found}
        try:
            write_whole(output, json.dumps(document, indent=1, allow_nan=False).encode())
        except OSError as error:
            raise DgssError(
                f'{output} cannot be written: {error}; choose another path.'
            ) from error


def _print(found: Mapping[str, Any]) -> None:
    console = Console(markup=False, highlight=False)
    console.print(f'{found["ours"]} minus {found["theirs"]}', soft_wrap=True)
    table = Table(box=None)
    table.add_column('condition')
    for column in ('frames', 'mIoU', 'before', 'difference', '95 %', 'p', ''):
        table.add_column(column, justify='right')
    for name, scores in found['conditions'].items():
        miou = scores['miou']
        interval, p = miou['interval'], miou['p']
        table.add_row(
            name,
            str(scores['frames']),
            _percent(miou['ours']),
            _percent(miou['theirs']),
            _percent(miou['difference'], '+'),
            ' to '.join(_percent(end, '+') for end in interval) if interval else '',
            '' if p is None else f'{p:.3f}',
            'significant' if p is not None and p < SURE else '',
        )
    console.print(table)
    for frame in found['changed'][:SHOWN]:
        console.print(
            f'{frame["name"]} ({frame["condition"]}): {_percent(frame["theirs"])} to '
            f'{_percent(frame["ours"])}',
            soft_wrap=True,
        )
    for kind, what in LEFT_OUT.items():
        if count := found['left_out'][kind]['count']:
            names = ', '.join(found['left_out'][kind]['frames'][:3])
            console.print(f'{count} frames left out: {what} ({names}).', soft_wrap=True)


LEFT_OUT = {
    'only_ours': 'the first evaluation has no labels of them',
    'only_theirs': 'only the first evaluation has labels of them',
    'other_labels': 'their labels differ, evaluate both again',
}


def _percent(value: float | None, sign: str = '') -> str:
    return '' if value is None else f'{100 * value:{sign}.1f}'


def _why_no_comparison(path: Path) -> str:
    content = read_json(path, LARGEST)
    known = isinstance(content, dict) and content.get('format') == FORMAT
    return '' if known else f'it is no {FORMAT}'


COMPARISON = Kind('a comparison', _why_no_comparison)
