"""The tables and sentences of `dgss bench model`."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.table import Table

from dgss_core.commands.tables import print_table

COLUMNS = ('bundle', 'backend', 'p50 ms', 'p95', 'p99', 'images/s', 'x first', 'MiB')
ROOF = ('roof', 'bound by')


def print_runs(rows: list[dict[str, Any]], batch: int) -> None:
    """Print the figures of runs: a table, the stages of each, and what bounds it."""
    console = Console(width=max(130, Console().width), highlight=False, markup=False)
    table = Table(box=None, title=f'{batch} image(s) a call')
    for column in (*COLUMNS, *ROOF):
        table.add_column(column, no_wrap=True)
    for row in rows:
        table.add_row(
            row['bundle'],
            row['backend'],
            *(f'{row[f"p{share}_ms"]:.1f}' for share in (50, 95, 99)),
            f'{row["images_per_s"]:.1f}',
            f'{row["times_first"]:.2f}',
            ' + '.join(f'{mib:.0f} {where}' for where, mib in row['memory_mib'].items() if mib),
            f'{row["roof"]["share"]:.0%}' if 'share' in row['roof'] else 'none',
            row['roof'].get('bound_by', ''),
        )
    print_table(table)
    for row in rows:
        stages = ', '.join(f'{name} {value:.1f}' for name, value in row['stages_ms'].items())
        name = f'{row["bundle"]} on {row["backend"]}'
        console.print(f'{name}, ms: {stages}', f'  {explained(row["roof"])}', sep='\n')


def explained(roof: dict[str, Any]) -> str:
    """The sentences about one roof of `dgss_core.commands.bench_roof`."""
    if 'reason' in roof:
        return f'No roof, because {roof["reason"]}.'
    precision, launches = roof['precision'], ''
    if roof['launches_ms'] is not None:
        launches = (
            f', and its {roof["launches"]} launches of {roof["launch_us"]:.1f} us each take '
            f'{_ms(roof["launches_ms"])}'
        )
    text = (
        f'{roof["giga_operations"]:.1f} G operations; {roof["measured"]} copies '
        f'{roof["copy_gb_per_s"]:.1f} GB/s and multiplies {precision} matrices at '
        f'{roof["gemm_gflop_per_s"][precision]:.0f} GFLOP/s: {_ms(roof["bound_ms"])} in '
        f'{precision} if memory holds what is between its layers{launches}.'
    )
    if roof['computes_in'] != precision:
        return (
            f'{text} It computes in {roof["computes_in"]}, which may exceed a roof of {precision}.'
        )
    if roof['share'] > 1:
        return f'{text} It is faster: a cache, or a fused layer, holds it.'
    if roof['bound_by']:
        return f'{text} It is bound by {roof["bound_by"]}.'
    return f'{text} None of these explains half of its time.'


def _ms(value: float) -> str:
    return f'{value:.0f} ms' if value >= 100 else f'{value:.2g} ms'
