"""What `dgss evaluate` prints: a table of conditions, the verdicts, and what was left out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from dgss_core.commands.progress import say
from dgss_core.commands.tables import print_table
from dgss_core.errors import one_line, plural
from dgss_core.evaluation.folder import TO_LABEL
from dgss_core.evaluation.results import ALL, told

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
    for line in _asked_for(results, path.parent):
        console.print(one_line(line), soft_wrap=True)
    for verdict in results['verdicts']:
        what = ' '.join(filter(None, (verdict['criterion'], verdict['condition'])))
        line = f'{verdict["outcome"]}: {what} {verdict["wanted"]}. {verdict["reason"]}'
        console.print(one_line(line), soft_wrap=True)
    for problem in results['problems']:
        names = ', '.join(problem['frames'][:NAMED])
        more = ', ...' if problem['count'] > NAMED else ''
        of_frames = f' ({problem["count"]}: {names}{more})' if problem['count'] else ''
        say(one_line(f'{problem["what"]}{of_frames}', LONGEST))


def _asked_for(results: Mapping[str, Any], folder: Path) -> Iterator[str]:
    """A line for each thing beside the scores: what has no labels, and what options asked for."""
    found = results['conditions'][ALL]
    unlabelled = sum(source['predicted'] - source['labelled'] for source in results['sources'])
    if unlabelled > 0:
        strides = found.get('flicker') or {}
        flicker = strides.get(min(strides, key=int, default=''), {}).get('value')
        means = {'mean confidence': found.get('confidence'), 'flicker': flicker}
        said = [f'{name} {value:.1%}' for name, value in means.items() if value is not None]
        yield (
            f'{plural(unlabelled, "predicted frame")} without labels'
            f'{"; of all frames: " if said else ""}{", ".join(said)}.'
        )
    if against := results['against']:
        yield f'Agreement with {against["identity"]}: {_of_pixels(found.get("agreement"))}.'
    if suite := results['corruptions']:
        severities = ', '.join(map(str, suite['severities']))
        scores = {'mean mIoU': suite['mean'], 'retention': suite['retention']}
        said = [f'{name} {_percent(value) or "not defined"}' for name, value in scores.items()]
        yield (
            f'Under corruptions of severity {severities}, {plural(suite["frames"], "frame")}: '
            f'{", ".join(said)}.'
        )
    if chosen := results['label_next']:
        yield f'{plural(len(chosen), "frame")} to label next: {folder / TO_LABEL}'


def _of_pixels(share: float | None) -> str:
    return 'no frame was compared' if share is None else f'{share:.1%} of the pixels'


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
            f'{100 * interval[0]:.1f} to {_percent(interval[1])}' if interval else '',
            *(_percent(found[key]) for key in COLUMNS.values()),
        )
    return table


def _percent(value: float | None) -> str:
    return '' if value is None else f'{value:.1%}'
