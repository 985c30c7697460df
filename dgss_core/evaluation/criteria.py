"""Criteria from a YAML file against the results: one verdict for each line.

    mIoU: {night: ">= 0.45", all: ">= 0.60"}
    iou: {person: {night: ">= 0.30"}}
    ece: "<= 0.08"
    latency_p99_ms: "<= 100"
    shift_alarm: {rain: fires, day: silent}

A criterion names a score and, for each condition, a bound. `all` is every frame, and a bound
without conditions is one for `all`. Scores and rates are 0 to 1.
"""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dgss_core.documents import LARGEST_YAML, load_yaml
from dgss_core.errors import DgssError, shown, unknown
from dgss_core.evaluation.results import ALL, Results, Verdict
from dgss_core.paths import read_bounded

PASS, FAIL, NOT_MEASURED = 'pass', 'fail', 'not measured'

COMPARE = {'>=': operator.ge, '<=': operator.le, '>': operator.gt, '<': operator.lt}
BOUND = re.compile(r'(>=|<=|>|<) *((?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]{1,2})?)')
BARE = re.compile(rb':\s*>')
LONGEST = 200
"""Characters of a bound, and of the name of a condition or a class."""

ALARMS = {'fires': '>= 0.5', 'silent': '<= 0.05'}
"""Bounds of the share of frames on which the domain-shift monitor fires."""


@dataclass(frozen=True)
class Measure:
    """Where a criterion finds its value in the results. `{}` in `path` is the condition.

    `needs`: without what there is no value. `share`: the value is 0 to 1.
    """

    path: tuple[str, ...]
    needs: str
    share: bool = True

    @property
    def per_condition(self) -> bool:
        return '{}' in self.path


def _score(*path: str, needs: str) -> Measure:
    return Measure(('conditions', '{}', *path), needs)


LABELLED = 'labelled frames'
RANKED = 'labelled frames with confidence, and pixels that are right and wrong'
MEASURES = {
    'mIoU': _score('miou', needs=LABELLED),
    'iou': _score('iou', needs=f'{LABELLED} with this class'),
    'boundary_iou': _score('boundary_iou', needs=LABELLED),
    'accuracy': _score('accuracy', needs=LABELLED),
    'ece': _score('ece', needs=f'{LABELLED} with confidence'),
    **{
        name: _score(name, needs=RANKED)
        for name in ('auroc', 'fpr95', 'aupr_success', 'aupr_error')
    },
    **{
        f'ood_{name}': _score('ood', name, needs='OOD labels and confidence')
        for name in ('auroc', 'auprc', 'fpr95')
    },
    **{
        f'flicker{suffix}': _score('flicker', stride, 'value', needs='frames of a drive in a row')
        for suffix, stride in (('', '1'), ('_2', '2'), ('_5', '5'), ('_10', '10'))
    },
    'retention': Measure(
        ('retention', 'conditions', '{}'), 'labels in this and in the normal condition'
    ),
    'shift_alarm': Measure(
        ('monitor', 'alarm_share', '{}'), 'a bundle with source statistics and this condition'
    ),
    'drop_rate': Measure(('live', 'drop_rate'), 'a replay through the node'),
    'rate_hz': Measure(('live', 'rate_hz'), 'a replay through the node', False),
    **{
        f'{name}_{percentile}_ms': Measure(
            ('live', f'{name}_ms', percentile), f'a replay through the node{clock}', False
        )
        for name, clock in (('latency', ''), ('age', ' with --clock and use_sim_time'))
        for percentile in ('p50', 'p95', 'p99')
    },
    'corruption_mean': Measure(('corruptions', 'benchmark', 'mean'), 'the corruption suite'),
    'corruption_retention': Measure(
        ('corruptions', 'benchmark', 'retention'), 'the corruption suite'
    ),
    'bravo_index': Measure(('bravo', 'index'), 'every semantic and OOD score'),
}


@dataclass(frozen=True)
class Criterion:
    """One line: a value in the results, and its bound.

    `name`: 'mIoU', 'iou person'. `condition`: '' for a value of the whole run. `wanted`: as
    written. `bound`: operator and number. `path`: the keys to the value in the results.
    """

    name: str
    condition: str
    wanted: str
    bound: tuple[str, float]
    path: tuple[str, ...]
    needs: str


def load_criteria(path: Path) -> list[Criterion]:
    """The criteria of a YAML file, in its order. Raises DgssError for a mistake in it."""
    text = read_bounded(path, LARGEST_YAML)
    try:
        data = load_yaml(text, str(path))
    except DgssError as error:
        if not BARE.search(text):
            raise
        # A bare > starts a block of text in YAML, and the parser's sentence does not help.
        raise DgssError(f'{error} Bounds stand in quotes: night: ">= 0.45".') from error
    return parse_criteria(data, str(path))


def parse_criteria(data: Any, origin: str) -> list[Criterion]:
    """The criteria of a document. Raises DgssError, which names `origin`, for a mistake in it."""
    if not isinstance(data, dict) or not data:
        raise DgssError(
            f'{origin} holds no criteria; write lines like mIoU: {{night: ">= 0.45"}}.'
        )
    return [criterion for name, value in data.items() for criterion in _parse(name, value, origin)]


def judge(criteria: Sequence[Criterion], results: Results) -> list[Verdict]:
    """A verdict for each criterion, in order; one on something that was not measured fails."""
    return [_judge(criterion, results) for criterion in criteria]


def exit_code(verdicts: Sequence[Verdict]) -> int:
    """0 if every criterion is met, else 1."""
    return int(any(verdict['outcome'] != PASS for verdict in verdicts))


def _parse(name: Any, value: Any, origin: str) -> Iterator[Criterion]:
    if name not in MEASURES:
        raise DgssError(f'{origin}: {unknown("criterion", str(name), MEASURES)}')
    measure = MEASURES[name]
    if name != 'iou':
        yield from _lines(name, measure, value, origin)
        return
    for label, bounds in _mapping(value, f'{origin}: iou', 'a class: {person: ">= 0.3"}').items():
        each = Measure((*measure.path, label), measure.needs)
        yield from _lines(f'iou {label}', each, bounds, origin)


def _lines(name: str, measure: Measure, value: Any, origin: str) -> Iterator[Criterion]:
    where = f'{origin}: {name}'
    if not measure.per_condition:
        if isinstance(value, dict):
            raise DgssError(f'{where} has no conditions; give one bound for the whole run.')
        yield _line(name, measure, '', value, where)
        return
    if isinstance(value, str):
        value = {ALL: value}
    for condition, wanted in _mapping(value, where, 'a condition: {night: "..."}').items():
        yield _line(name, measure, condition, wanted, f'{where}: {condition}')


def _line(name: str, measure: Measure, condition: str, wanted: Any, where: str) -> Criterion:
    """`condition`: '' for the whole run."""
    if name == 'retention' and condition == ALL:
        path: tuple[str, ...] = ('retention', 'mean')
    else:
        path = tuple(condition if key == '{}' else key for key in measure.path)
    bound = _bound(wanted, measure.share, ALARMS if name == 'shift_alarm' else {}, where)
    return Criterion(name, condition, wanted, bound, path, measure.needs)


def _bound(text: Any, share: bool, words: Mapping[str, str], where: str) -> tuple[str, float]:
    """Operator and number of a bound. `words`: what may stand for one."""
    match = None
    if isinstance(text, str) and len(text) <= LONGEST:
        match = BOUND.fullmatch(words.get(text, text).strip())
    if match is None:
        also = ''.join(f'{word}, or ' for word in words)
        raise DgssError(
            f'{where} is {shown(text)}, which is no bound; write {also}one of >=, <=, >, < and a '
            'number, such as ">= 0.45".'
        )
    sign, limit = match[1], float(match[2])
    if share and limit > 1:
        raise DgssError(
            f'{where} is {shown(text)}, but this value is 0 to 1; write "{sign} {limit / 100:g}" '
            f'for {limit:g} percent.'
        )
    return sign, limit


def _mapping(value: Any, where: str, example: str) -> dict[str, Any]:
    if not isinstance(value, dict) or not value:
        raise DgssError(f'{where} is {shown(value)}; give a bound for {example}.')
    for key in value:
        if not isinstance(key, str) or not 0 < len(key) <= LONGEST or not key.isprintable():
            raise DgssError(
                f'{where} names {shown(key)}; a name is 1 to {LONGEST} printable characters, in '
                'quotes if YAML would read it as something else.'
            )
    return value


def _judge(criterion: Criterion, results: Results) -> Verdict:
    sign, limit = criterion.bound
    value, missing = _find(results, criterion)
    if value is None:
        outcome, reason = NOT_MEASURED, missing
    elif COMPARE[sign](value, limit):
        outcome, reason = PASS, f'{_digits(value, sign, limit)} {sign} {limit:g}.'
    else:
        outcome, reason = FAIL, f'{_digits(value, sign, limit)} is not {sign} {limit:g}.'
    return {
        'criterion': criterion.name,
        'condition': criterion.condition,
        'wanted': criterion.wanted,
        'measured': value,
        'outcome': outcome,
        'reason': reason,
    }


def _find(results: Mapping[str, Any], criterion: Criterion) -> tuple[float | None, str]:
    """The value, or None and the reason why there is none."""
    found: Any = results
    for depth, key in enumerate(criterion.path):
        if not isinstance(found, Mapping) or key not in found:
            known = found if isinstance(found, Mapping) else {}
            if depth and key == criterion.condition and known:
                return None, f'There is no {shown(key)}; there is {", ".join(map(shown, known))}.'
            break
        found = found[key]
    else:
        if isinstance(found, int | float) and not isinstance(found, bool) and math.isfinite(found):
            return float(found), ''
    return None, f'It was not measured; it needs {criterion.needs}.'


def _digits(value: float, sign: str, limit: float) -> str:
    """A value with so many digits that it stands on its side of the limit."""
    for digits in (4, 6, 9):
        text = f'{value:.{digits}g}'
        if COMPARE[sign](float(text), limit) == COMPARE[sign](value, limit):
            return text
    return repr(value)
