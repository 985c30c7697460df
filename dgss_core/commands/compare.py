"""`dgss compare`: what differs between evaluations."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from dgss_core.commands.limits import at_least
from dgss_core.commands.tables import print_table
from dgss_core.documents import dump_json, read_json
from dgss_core.errors import DgssError, cause, one_line
from dgss_core.evaluation.assembly import provenance
from dgss_core.evaluation.compare import FORMAT, compare_runs
from dgss_core.evaluation.finished import read_run
from dgss_core.evaluation.report.comparison import build_comparison, is_sure
from dgss_core.evaluation.results import told
from dgss_core.files import Kind, refuse_replacing, replacing_folder

DATA, PAGE = 'comparison.json', 'comparison.html'
OTHERS = {'boundary_iou': 'boundary IoU', 'ece': 'ECE', 'auroc': 'AUROC'}
"""Scores beside the mIoU."""
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
    at_least(2, resamples=resamples)
    at_least(0, seed=seed)
    if output is not None:
        refuse_replacing(output, RESULT, overwrite=overwrite, inputs=runs)
    found = {
        **provenance(),
        **compare_runs([read_run(path) for path in runs], resamples=resamples, seed=seed),
    }
    for pair in found['pairs']:
        _print(pair, found)
    for problem in found['problems']:
        print(f'{problem["count"]} x {one_line(problem["what"])}', file=sys.stderr)
    if output is not None:
        _write(output, found, runs, overwrite)
        print(output / PAGE)
    return 1 if found['problems'] else 0


def _write(output: Path, found: dict[str, Any], runs: list[Path], overwrite: bool) -> None:
    try:
        with replacing_folder(output, RESULT, overwrite=overwrite, inputs=runs) as folder:
            (folder / DATA).write_bytes(dump_json(found))
            (folder / PAGE).write_text(build_comparison(found), encoding='utf-8')
    except OSError as error:
        raise DgssError(
            f'{output} cannot be written: {cause(error)}; free some room, or choose another '
            'folder.'
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
    table.add_column('condition', no_wrap=True)
    for column in ('frames', 'mIoU ', '95 %', *(f'{head} ' for head in OTHERS.values())):
        table.add_column(column, justify='right', no_wrap=True)
    for name, group in told(pair['conditions']).items():
        entries = group['differences']
        others = (_points(entries[key]) for key in OTHERS)
        miou = (_points(entries['miou']), _between(entries['miou']))
        table.add_row(one_line(name), str(group['frames']), *miou, *others)
    console = Console(markup=False, highlight=False)
    title = f'{_shown(other)} minus {_shown(first)}, on {pair["frames"]} frames, in points '
    title += '(*: the interval leaves out 0)'
    console.print(title, soft_wrap=True)
    print_table(table)
    for frame in pair['changed'][:SHOWN]:
        change = f'{100 * frame["difference"]:+.1f} mIoU'
        name = f'{one_line(frame["name"])} ({one_line(frame["condition"])})'
        console.print(f'  {change}  {name}', soft_wrap=True)


def _points(entry: dict[str, Any]) -> str:
    """A difference in points; * where its interval leaves out 0."""
    if entry['difference'] is None:
        return ''
    return f'{100 * entry["difference"]:+.1f}{"*" if is_sure(entry) else " "}'


def _between(entry: dict[str, Any]) -> str:
    return ' to '.join(f'{100 * end:+.1f}' for end in entry['interval'] or ())


def _shown(run: dict[str, Any]) -> str:
    return one_line(f'{run["identity"]} ({run["folder"]})')
