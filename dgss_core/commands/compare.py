"""`dgss compare`: what differs between evaluations."""

from __future__ import annotations

import json
import shlex
import sys
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from dgss_core.documents import read_json
from dgss_core.errors import DgssError
from dgss_core.evaluation.assembly import environment
from dgss_core.evaluation.compare import FORMAT, compare_runs, read_run
from dgss_core.evaluation.report.comparison import build_comparison
from dgss_core.evaluation.results import ALL
from dgss_core.files import Kind, refuse_replacing, replacing_folder

DATA, PAGE = 'comparison.json', 'comparison.html'
COLUMNS = {'miou': 'mIoU', 'boundary_iou': 'boundary IoU', 'ece': 'ECE', 'auroc': 'AUROC'}
SHOWN = 5
"""Changed frames that are printed."""


def compare(
    runs: list[Path],
    *,
    output: Path | None = None,
    resamples: int = 1000,
    seed: int = 0,
    overwrite: bool = False,
) -> int:
    """Compare evaluations with the first one, on the frames that they share.

    Prints the differences by condition with their paired 95 % bootstrap intervals, and the frames
    that changed most.

    Args:
        runs: outputs of dgss evaluate, two or more; the others are compared with the first
        output: folder to write, with comparison.html and comparison.json
        resamples: of the bootstrap intervals
        seed: of the resamples
        overwrite: replace an earlier comparison in the output folder

    Returns:
        0, or 1 if frames could not be compared.
    """
    if len(runs) < 2:
        raise DgssError('Give two or more outputs of dgss evaluate; the first is the baseline.')
    if resamples < 2:
        raise DgssError(f'--resamples is {resamples}; give at least 2.')
    if output is not None:
        refuse_replacing(output, RESULT, overwrite=overwrite, inputs=runs)
    found = {
        'made': datetime.now(timezone.utc).isoformat(timespec='seconds'),
        'command': shlex.join(['dgss', *sys.argv[1:]]),
        'environment': environment(),
        **compare_runs([read_run(path) for path in runs], resamples=resamples, seed=seed),
    }
    for pair in found['pairs']:
        _print(pair, found)
    for problem in found['problems']:
        print(f'{problem["count"]} x {problem["what"]}', file=sys.stderr)
    if output is not None:
        _write(output, found, runs, overwrite)
        print(output / PAGE)
    return 1 if found['problems'] else 0


def _write(output: Path, found: dict[str, Any], runs: list[Path], overwrite: bool) -> None:
    try:
        with replacing_folder(output, RESULT, overwrite=overwrite, inputs=runs) as folder:
            text = json.dumps(found, indent=1, ensure_ascii=False, allow_nan=False)
            (folder / DATA).write_text(text, encoding='utf-8')
            (folder / PAGE).write_text(build_comparison(found), encoding='utf-8')
    except OSError as error:
        raise DgssError(
            f'{output} cannot be written: {error}; free some room, or choose another folder.'
        ) from error


def _why_none(path: Path) -> str:
    others = sorted(entry.name for entry in path.iterdir() if entry.name not in (DATA, PAGE))
    if others:
        return f'it holds {others[0]}'
    content = read_json(path / DATA)
    is_ours = isinstance(content, dict) and content.get('format') == FORMAT
    return '' if is_ours else f'{DATA} was not written by dgss compare'


RESULT = Kind('a comparison of dgss compare', _why_none)


def _print(pair: dict[str, Any], found: dict[str, Any]) -> None:
    first, other = (found['runs'][place] for place in pair['runs'])
    table = Table(box=None)
    for column in ('condition', 'frames', *COLUMNS.values()):
        table.add_column(column, justify='left' if column == 'condition' else 'right')
    for name, group in pair['conditions'].items():
        if name != ALL or len(pair['conditions']) != 2:
            cells = (_told(group['differences'].get(key)) for key in COLUMNS)
            table.add_row(name, str(group['frames']), *cells)
    console = Console(markup=False, highlight=False)
    title = f'{_shown(other)} minus {_shown(first)}, on {pair["frames"]} frames, in points'
    console.print(title, soft_wrap=True)
    console.print(table)
    for frame in pair['changed'][:SHOWN]:
        change = f'{100 * frame["difference"]:+.1f} mIoU'
        console.print(f'  {change}  {frame["name"]} ({frame["condition"]})', soft_wrap=True)


def _told(entry: dict[str, Any] | None) -> str:
    """A difference in points with its interval; * where the interval leaves out 0."""
    if entry is None or entry['difference'] is None:
        return ''
    text = f'{100 * entry["difference"]:+.1f}'
    if entry['interval'] is None:
        return text
    low, high = entry['interval']
    sure = '*' if low > 0 or high < 0 else ' '
    return f'{text}{sure} [{100 * low:+.1f}, {100 * high:+.1f}]'


def _shown(run: dict[str, Any]) -> str:
    return f'{run["identity"]} ({run["folder"]})'
