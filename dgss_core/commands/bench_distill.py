"""`dgss bench distill`: one-stage against two-stage distillation on equal budgets."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from rich.table import Table

from dgss_core.commands.tables import print_table
from dgss_core.documents import read_json
from dgss_core.errors import DgssError
from dgss_core.files import Kind, refuse_file, write_whole
from dgss_core.training.ablation import MATCHES, ONE_STAGE, TWO_STAGES, Arm, arms
from dgss_core.training.config import DEFAULT_HARDWARE, HardwareConfig, TrainConfig
from dgss_core.training.generation.journal import unwritable
from dgss_core.training.recipe import origin, written

SCHEMA = 'dgss-ablation/1'
SEEDS, BOTH = [1, 2, 3], [*MATCHES]


def bench_distill(
    *,
    config: TrainConfig,
    output: Path,
    data: Path = Path('data'),
    seeds: list[int] = SEEDS,
    first: float = 0.5,
    match: list[str] = BOTH,
    hardware: HardwareConfig = DEFAULT_HARDWARE,
) -> None:
    """Compare one-stage with two-stage distillation: the same images, data and losses.

    Continues where an earlier run was interrupted. Writes ablation.json beside the trainings.

    Args:
        config: a recipe with distillation, of config/train or your own; it is the one-stage arm
        output: folder for all trainings and ablation.json
        data: folder that contains the datasets, each under its name
        seeds: seeds of all random numbers; every arm is trained once with each
        first: share of the steps that the first of two stages gets
        match: what the encoders match, features, correlation, or both in turn
        hardware: how the trainings run on this machine
    """
    _check(config, seeds, match)
    report = output / 'ablation.json'
    refuse_file(report, Kind('an ablation', _why_not))
    planned = [arm for seed in seeds for arm in arms(config, output, seed, first, match)]
    lengths = [len(source.open(data)) for source in config.sources]
    for arm in planned:
        for stage in arm.stages:
            stage.check()
    for number, arm in enumerate(planned, 1):
        print(f'{number} of {len(planned)}: {arm.title}, seed {arm.seed}', flush=True)
        for stage in arm.stages:
            stage.run(data, hardware)
    found = {
        'schema': SCHEMA,
        'seeds': seeds,
        'first': first,
        'budgets': budgets(planned, lengths, config),
        'scores': scores(planned),
        'recipe': written(config),
        'origin': origin(seeds[0], hardware),
    }
    try:
        write_whole(report, json.dumps(found, indent=2).encode())
    except OSError as error:
        raise unwritable(report, error) from error
    _print(found)


def budgets(planned: Sequence[Arm], lengths: Sequence[int], config: TrainConfig) -> list[dict]:
    """What each arm may use with one seed, in images."""
    return [
        {
            'arm': arm.title,
            'student': arm.images,
            'encoder': arm.images_where('encoder'),
            'head': arm.images_where('head'),
            'labelled': arm.labelled(lengths, config),
            'teacher': arm.images_where('teacher'),
        }
        for arm in planned
        if arm.seed == planned[0].seed
    ]


def scores(planned: Sequence[Arm]) -> list[dict[str, Any]]:
    """mIoU of every arm on every split: of each seed, mean, deviation, and the paired gain.

    The gain is that of two stages over one stage with the same seed and match.
    """
    by_arm: dict[tuple[str, str], dict[int, dict[str, float | None]]] = {}
    for arm in planned:
        by_arm.setdefault((arm.name, arm.match), {})[arm.seed] = arm.stages[-1].scores()
    rows = []
    for (name, match), found in by_arm.items():
        title = f'{name}, {match}' if match else name
        for split in next(iter(found.values())):
            values = [result[split] for result in found.values()]
            row: dict[str, Any] = {'arm': title, 'on': split, 'miou': values, **_spread(values)}
            if name == TWO_STAGES:
                one = by_arm[ONE_STAGE, match]
                row['gain'] = _spread(
                    [_minus(r[split], one[seed][split]) for seed, r in found.items()]
                )
            rows.append(row)
    return rows


def _spread(values: Sequence[float | None]) -> dict[str, float | None]:
    known = [value for value in values if value is not None]
    return {
        'mean': mean(known) if known else None,
        'deviation': stdev(known) if len(known) > 1 else None,
    }


def _minus(one: float | None, other: float | None) -> float | None:
    return None if one is None or other is None else one - other


def _check(config: TrainConfig, seeds: Sequence[int], match: Sequence[str]) -> None:
    if not seeds or min(seeds) < 0 or len({*seeds}) < len(seeds):
        raise DgssError(f'Seeds are different whole numbers of at least 0, not {seeds}.')
    if not match or not {*match} <= {*MATCHES} or len({*match}) < len(match):
        raise DgssError(f'match is one or both of {", ".join(MATCHES)}, not {match}.')
    if not config.evaluation.splits:
        raise DgssError('Nothing would be scored; name evaluation.splits in the recipe.')
    if int(os.environ.get('WORLD_SIZE', 1)) > 1:
        raise DgssError(
            'An ablation runs in one process; start it without torchrun, on one GPU or the CPU.'
        )


def _why_not(path: Path) -> str:
    found = read_json(path)
    known = isinstance(found, dict) and found.get('schema') == SCHEMA
    return '' if known else f'its schema is not {SCHEMA}'


def _print(found: dict[str, Any]) -> None:
    named = ', '.join(map(str, found['seeds']))
    table = Table(title=f'mIoU of the last weights; seeds {named}')
    for column in ('scored on', 'arm', 'of each seed', 'mean', 'deviation', 'gain of two stages'):
        table.add_column(column, no_wrap=True)
    for row in sorted(found['scores'], key=lambda row: row['on']):
        gain = row.get('gain')
        table.add_row(
            row['on'],
            row['arm'],
            ' '.join(_percent(value) for value in row['miou']),
            _percent(row['mean']),
            _percent(row['deviation']),
            _gain(**gain) if gain else '',
        )
    print_table(table)
    table = Table(title='images of each seed that ...')
    for column in (
        'arm',
        'the student sees',
        'train the encoder',
        'train the head',
        'of these labelled',
        'the teacher sees',
    ):
        table.add_column(column, no_wrap=True)
    for row in found['budgets']:
        table.add_row(*map(str, row.values()))
    print_table(table)


def _gain(mean: float | None, deviation: float | None) -> str:
    spread = '' if deviation is None else f' ± {_percent(deviation)}'
    return f'{_percent(mean, "+")}{spread}'


def _percent(value: float | None, sign: str = '') -> str:
    return '-' if value is None else f'{value:{sign}.1%}'
