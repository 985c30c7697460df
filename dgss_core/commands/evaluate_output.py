"""What `dgss evaluate` prints: a table of conditions, the verdicts, and what was left out."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from dgss_core.commands.progress import say
from dgss_core.commands.tables import print_table
from dgss_core.errors import one_line
from dgss_core.evaluation.results import told

LONGEST = 2000
"""Characters of a problem."""
NAMED = 3
"""Frames of a problem that are named."""
COLUMNS = {'boundary IoU': 'boundary_iou', 'ECE': 'ece', 'AUROC': 'auroc'}


def print_results(results: Mapping[str, Any], path: Path) -> None:
    """Print results in the form of `results.json`. `path`: of their report."""
    console = Console(markup=False, highlight=False)
    print_table(_table(results['conditions']))
    predictor, label_set = results['predictor'], results['label_set']['name']
    console.print(
        f'{predictor["identity"]} in {label_set}, {results["protocol"]}: {path}', soft_wrap=True
    )
    for verdict in results['verdicts']:
        what = ' '.join(filter(None, (verdict['criterion'], verdict['condition'])))
        line = f'{verdict["outcome"]}: {what} {verdict["wanted"]}. {verdict["reason"]}'
        console.print(one_line(line), soft_wrap=True)
    for problem in results['problems']:
        names = ', '.join(problem['frames'][:NAMED])
        more = ', ...' if problem['count'] > NAMED else ''
        of_frames = f' ({problem["count"]}: {names}{more})' if problem['count'] else ''
        say(one_line(f'{problem["what"]}{of_frames}', LONGEST))


def _table(conditions: Mapping[str, Any]) -> Table:
    table = Table(box=None)
    table.add_column('condition', no_wrap=True)
    for column in ('frames', 'mIoU', '95 %', *COLUMNS):
        table.add_column(column, justify='right', no_wrap=True)
    for name, found in told(conditions).items():
        interval = found.get('intervals', {}).get('miou')
        table.add_row(
            one_line(name),
            str(found['frames']),
            _percent(found['miou']),
            ' to '.join(map(_percent, interval)) if interval else '',
            *(_percent(found[key]) for key in COLUMNS.values()),
        )
    return table


def _percent(value: float | None) -> str:
    return '' if value is None else f'{100 * value:.1f}'
