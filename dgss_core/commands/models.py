"""`dgss models`: list the systems that can be built and trained."""

from __future__ import annotations

import json as json_text
from functools import cache
from typing import Any

import torch
from rich.table import Table

from dgss_core.commands.tables import print_table
from dgss_core.networks.systems import build_system, systems
from dgss_core.networks.undrawn import Undrawn


def models(*, json: bool = False) -> None:
    """List every system with its parts, its size and its paper.

    Args:
        json: print JSON instead of a table, with exact parameter counts
    """
    rows = [describe(name) for name in systems()]
    if json:
        print(json_text.dumps(rows, indent=2))
        return
    caption = (
        'sides: height and width are padded to a multiple of it; '
        "weights: the licence of the encoder's usual download"
    )
    table = Table(box=None, caption=caption)
    for column in ('name', 'encoder', 'adapter', 'head', 'total, M', 'trained, M', 'sides'):
        table.add_column(column, no_wrap=True)
    table.add_column('weights', no_wrap=True)
    table.add_column('paper', no_wrap=True)
    for row in rows:
        counts = (f'{row[key] / 1e6:.2f}' for key in ('parameters', 'trained'))
        parts = (row['name'], row['encoder'], row['adapter'], row['head'])
        rest = (str(row['size_multiple']), row['weights_licence'], row['paper'])
        table.add_row(*parts, *counts, *rest)
    print_table(table)


@cache
def describe(name: str) -> dict[str, Any]:
    """The parts and sizes of a system; its network is built without memory for weights."""
    system = systems()[name]
    with torch.device('meta'), Undrawn():
        model = build_system(name)
    return {
        'name': name,
        'encoder': system.encoder,
        'adapter': system.adapter,
        'head': system.head,
        'parameters': sum(p.numel() for p in model.parameters()),
        'trained': sum(p.numel() for p in model.parameters() if p.requires_grad),
        'size_multiple': model.encoder.size_multiple,
        'weights_licence': system.weights_licence,
        'paper': system.paper,
    }
