"""The parts of a report that are words: verdict, summary, problems, and how it was made."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from dgss_core.evaluation.report.conditions import interval
from dgss_core.evaluation.report.elements import (
    NOT_MEASURED,
    Content,
    Element,
    count_of,
    element,
    figure,
    percent,
    span,
    whole,
)
from dgss_core.evaluation.report.tables import side_by_side, swatch, table, words
from dgss_core.evaluation.results import ALL
from dgss_core.synthetic import CONDITIONS

SHOWN = 12
"""Names of frames beside a problem; the others are in a list that opens."""
TITLES = 3
"""Sources in the head of the page; a table has them all."""
MARKS = {'pass': '\N{CHECK MARK}', 'fail': '\N{BALLOT X}', NOT_MEASURED: '?'}


def title(results: Mapping[str, Any]) -> str:
    return str(results['predictor']['identity'])


def head(results: Mapping[str, Any]) -> list[Element]:
    """What was evaluated, on what, and when."""
    sources = ', '.join(source['title'] for source in results['sources'][:TITLES])
    more = len(results['sources']) - TITLES
    sources += f' and {whole(more)} more' if more > 0 else ''
    against = results.get('against')
    beside = f', against {against["identity"]}' if against else ''
    return [
        element('p', 'Evaluation of', class_='kicker'),
        element('h1', title(results)),
        element('p', f'on {sources}{beside}', class_='subtitle'),
    ]


def verdict(lines: Sequence[Mapping[str, Any]]) -> list[Content]:
    """Passed or failed, and why, line by line."""
    failed = [line for line in lines if line['outcome'] != 'pass']
    outcome = 'fail' if failed else 'pass'
    text = (
        f'Failed: {len(failed)} of {count_of(len(lines), "criterion", "criteria")}'
        if failed
        else f'Passed: {count_of(len(lines), "criterion", "criteria")}'
    )
    rows: list[list[Content]] = [
        [
            line['criterion'],
            words(
                element('span', MARKS[line['outcome']], ' ', line['outcome'], class_=_tone(line))
            ),
            words(line['condition']),
            words(line['wanted']),
            figure(line['measured']),
            words(line['reason'] if line['outcome'] != 'pass' else ''),
        ]
        for line in lines
    ]
    heads = ['criterion', 'outcome', 'condition', 'wanted', 'measured', 'reason']
    mark = element('span', MARKS[outcome], aria_hidden='true')
    return [
        element('p', mark, ' ', text, class_=f'verdict {outcome}'),
        table('Criteria', heads, rows),
    ]


def _tone(line: Mapping[str, Any]) -> str:
    return 'good' if line['outcome'] == 'pass' else 'bad'


def summary(results: Mapping[str, Any]) -> list[Content]:
    """The figures over all frames, and the classes in which they hold."""
    found = results['conditions'][ALL]
    retained = (results.get('retention') or {}).get('mean')
    tiles = [
        ('mIoU', figure(found['miou']), span(interval(found, 'miou'))),
        ('boundary IoU', figure(found['boundary_iou']), f'{found["boundary_band"]} pixels'),
        ('accuracy', figure(found['accuracy']), 'of the pixels'),
        ('ECE', figure(found['ece']), '0 is best'),
        ('retention', figure(retained, 2), 'adverse over normal'),
    ]
    shown = [
        element(
            'div',
            element('dt', name),
            element('dd', element('b', value), element('small', note or '\N{NO-BREAK SPACE}')),
        )
        for name, value, note in tiles
        if value != NOT_MEASURED
    ]
    return [
        element('dl', shown, class_='tiles') if shown else None,
        _facts(results, found),
        _sources(results['sources']),
    ]


def _facts(results: Mapping[str, Any], found: Mapping[str, Any]) -> Element:
    predictor, label_set = results['predictor'], results['label_set']
    counted = sum(frame['labelled'] for frame in results['frames'])
    classes = [
        element('li', swatch(entry['color']), entry['name']) for entry in label_set['classes']
    ]
    milliseconds, merge = predictor.get('milliseconds'), predictor.get('merge') or ''
    before, _, after = merge.partition(' to ')
    facts: dict[str, Content] = {
        'Frames': f'{whole(len(results["frames"]))}, of which {whole(counted)} have labels',
        'Labelled pixels': whole(found['labelled_pixels']),
        'Scored in': [
            f'{label_set["name"]}, {count_of(len(classes), "class", "classes")}',
            element('ul', classes, class_='legend'),
        ],
        'Class map': merge if before != after else None,
        'Protocol': protocol_of(results),
        'Backend': predictor.get('backend'),
        'Time of a frame': f'{milliseconds:.1f} ms, network only' if milliseconds else None,
    }
    return _definitions(facts)


def protocol_of(results: Mapping[str, Any]) -> str:
    """The protocol of an evaluation, or of a run of a comparison, as a value beside that word."""
    return str(results.get('protocol') or '').removeprefix('protocol ')


def _sources(sources: Sequence[Mapping[str, Any]]) -> Element | None:
    rows = [
        [source['title'], words(source['kind']), *(whole(source.get(key)) for key in COUNTED)]
        for source in sources
    ]
    return table('What was evaluated on', ['source', 'kind', *COUNTED], rows)


COUNTED = ('frames', 'predicted', 'labelled')


def _definitions(facts: Mapping[str, Content]) -> Element:
    return element(
        'dl',
        [[element('dt', name), element('dd', value)] for name, value in facts.items() if value],
        class_='facts',
    )


def monitor(found: Mapping[str, Any]) -> list[Content]:
    """The domain-shift monitor as a detector."""
    facts = {
        'AUROC of finding frames whose mIoU dropped': figure(found.get('auroc')),
        'Threshold': figure(found.get('threshold'), 2),
    }
    rows = [[name, percent(share)] for name, share in (found.get('alarm_share') or {}).items()]
    heads = ['condition', 'frames with an alarm']
    return [side_by_side(_definitions(facts), table('How often it fires', heads, rows))]


def estimated(found: Mapping[str, Mapping[str, int]]) -> list[Content]:
    """The condition as estimated from the images, against the one that was told."""
    names = sorted({name for row in found.values() for name in row} | {*found}, key=_order)
    rows = [[name, *(str(row.get(other, 0)) for other in names)] for name, row in found.items()]
    heads = ['condition', *(f'estimated {name}' for name in names)]
    return [table('Frames by condition and estimate', heads, rows)]


def _order(condition: str) -> int:
    return CONDITIONS.index(condition) if condition in CONDITIONS else len(CONDITIONS)


def live(found: Mapping[str, Any]) -> list[Content]:
    """What the replay through the node measured, besides the histogram."""
    rows = [
        [name, *(_milliseconds((found.get(key) or {}).get(p)) for p in ('p50', 'p95', 'p99'))]
        for key, name in (('latency_ms', 'latency'), ('age_ms', 'age of a mask'))
        if found.get(key)
    ]
    facts = {
        'Frames sent': _counted(found, 'sent'),
        'Masks received': _counted(found, 'received'),
        'Dropped': _said(found, 'drop_rate', percent),
        'Rate': _said(found, 'rate_hz', lambda value: f'{value:.1f} Hz'),
        'CPU of the node': _said(found, 'cpu_percent', lambda value: f'{value:.0f} %'),
        'Memory of the node': _said(found, 'memory_mib', lambda value: f'{value:.0f} MiB'),
    }
    times = table('Times of the node', ['time', 'p50', 'p95', 'p99'], rows)
    return [side_by_side(_definitions(facts), times)]


def _said(found: Mapping[str, Any], key: str, say: Any) -> str | None:
    if key not in found:
        return None
    return NOT_MEASURED if found[key] is None else say(found[key])


def _counted(found: Mapping[str, Any], key: str) -> str | None:
    return _said(found, key, whole)


def _milliseconds(value: float | None) -> str:
    return NOT_MEASURED if value is None else f'{value:.1f} ms'


def _times(count: int) -> list[Content]:
    """How often, for a problem of frames; a bag that was cut off has no number."""
    return [element('b', f'{whole(count)} \N{MULTIPLICATION SIGN}'), ' '] if count else []


def problems(found: Sequence[Mapping[str, Any]]) -> list[Content]:
    """Every problem with its count, its remedy, and its frames."""
    items = [
        element(
            'li',
            *_times(problem['count']),
            problem['what'],
            _names(problem['frames'], problem['count']),
        )
        for problem in found
    ]
    return [element('ul', items, class_='problems')]


def _names(names: Sequence[str], count: int) -> Element | None:
    if not names:
        return None
    listed = ', '.join(names)
    if len(names) <= SHOWN and count == len(names):
        return element('p', listed, class_='names')
    rest = f' and {whole(count - len(names))} more' if count > len(names) else ''
    summary = element('summary', count_of(count, 'frame'))
    return element('details', summary, element('p', listed, rest, class_='names'))


def label_next(names: Sequence[str]) -> list[Content]:
    """The frames most worth labelling."""
    items = [element('li', name) for name in names]
    return [
        element('p', 'Uncertain, different from each other, the first ones first.', class_='note'),
        element('ol', items, class_='names columns'),
    ]


def made(results: Mapping[str, Any]) -> list[Content]:
    """The command, the settings, and the environment."""
    parts: list[Content] = []
    if results.get('command'):
        parts.append(element('h3', 'Command'))
        code = element('code', results['command'])
        parts.append(element('pre', code, tabindex='0', role='group', aria_label='Command'))
    tables = []
    for name in ('settings', 'environment'):
        values = results.get(name) or {}
        rows = [[key, words(_plain(value))] for key, value in values.items()]
        tables.append(table(name.capitalize(), ['name', 'value'], rows))
    return [*parts, side_by_side(*tables)]


def _plain(value: Any) -> str:
    if value is None:
        return NOT_MEASURED
    if isinstance(value, list):
        parts = [' to '.join(map(str, v)) if isinstance(v, list) else str(v) for v in value]
        return ', '.join(parts) or 'none'
    return str(value)
