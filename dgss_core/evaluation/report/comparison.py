"""The page of a comparison of evaluations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from dgss_core.evaluation.report import sections
from dgss_core.evaluation.report.charts import dots
from dgss_core.evaluation.report.conditions import SMALLEST_CHART
from dgss_core.evaluation.report.elements import (
    NOT_MEASURED,
    Content,
    Element,
    count_of,
    element,
    figure,
    signed,
    whole,
)
from dgss_core.evaluation.report.page import Section, build_page
from dgss_core.evaluation.report.tables import difference_table, scrolling, table, words
from dgss_core.evaluation.results import ALL, told

NOTE = 'Bold: the interval leaves out 0. Of ECE and FPR95, less is better.'
SCORES = {
    'miou': 'mIoU',
    'boundary_iou': 'boundary IoU',
    'accuracy': 'accuracy',
    'ece': 'ECE',
    'auroc': 'AUROC',
    'fpr95': 'FPR95',
}


def build_comparison(found: Mapping[str, Any]) -> str:
    """The page of what `compare_runs` found, with `made`, `command` and `environment`, as HTML."""
    parts = [Section('runs', 'Evaluations', _runs(found))]
    for number, pair in enumerate(found['pairs']):
        title = _name(found, pair['runs'][1])
        parts.append(Section(f'pair-{number}', title, _pair(found, pair)))
    problems = sections.problems(found['problems']) if found['problems'] else []
    parts.append(Section('problems', 'Problems', problems))
    parts.append(Section('made', 'How it was made', sections.made(found)))
    head = [
        element('p', 'Comparison with', class_='kicker'),
        element('h1', found['runs'][0]['identity']),
        element('p', found['runs'][0]['folder'], class_='subtitle'),
    ]
    foot = f'dgss compare, {found["made"]}. The figures are those of comparison.json.'
    data: dict[str, Any] = {'frames': {}, 'series': {}, 'pictures': [], 'timelines': []}
    return build_page(f'{found["runs"][0]["identity"]}, comparison', head, parts, data, foot)


def _name(found: Mapping[str, Any], place: int) -> str:
    run = found['runs'][place]
    same = [other for other in found['runs'] if other['identity'] == run['identity']]
    return f'{run["identity"]} ({run["folder"]})' if len(same) > 1 else str(run['identity'])


def _runs(found: Mapping[str, Any]) -> list[Content]:
    rows = [
        [
            run['identity'],
            words(run['folder']),
            words(sections.protocol_of(run)),
            whole(run['frames']),
        ]
        for run in found['runs']
    ]
    lines = [element('li', _sentence(found, pair)) for pair in found['pairs']]
    return [
        element('ul', lines, class_='problems'),
        table('The first is the baseline', ['predictor', 'folder', 'protocol', 'labelled'], rows),
    ]


def _sentence(found: Mapping[str, Any], pair: Mapping[str, Any]) -> list[Content]:
    """The difference of the mIoU over all frames, in words."""
    name = element('b', _name(found, pair['runs'][1]))
    entry = pair['conditions'][ALL]['differences']['miou']
    if entry['difference'] is None:
        return [name, ': its mIoU was not measured.']
    if entry['interval'] is None:
        how = 'one frame or drive gives no interval'
    else:
        how = f'95 % interval {_between(entry)}, p {entry["p"]:.3f}'
    tone = 'no clear difference' if not is_sure(entry) else _tone(entry['difference'])
    value = signed(entry['difference'])
    return [name, f': {tone}, mIoU {value} on {count_of(pair["frames"], "frame")} ({how}).']


def _tone(difference: float) -> str:
    return 'better' if difference > 0 else 'worse'


def is_sure(entry: Mapping[str, Any]) -> bool:
    """Whether the interval of a difference leaves out 0."""
    return entry['interval'] is not None and not entry['interval'][0] <= 0 <= entry['interval'][1]


def _between(entry: Mapping[str, Any]) -> str:
    return f'{signed(entry["interval"][0])} to {signed(entry["interval"][1])}'


def _pair(found: Mapping[str, Any], pair: Mapping[str, Any]) -> list[Content]:
    shown = told(pair['conditions'])
    return [
        _score_table(shown),
        element('p', NOTE, class_='note'),
        _chart(shown),
        _class_table(found, shown),
        _changed(pair['changed']),
    ]


def _score_table(shown: Mapping[str, Any]) -> Element | None:
    used = [
        key
        for key in SCORES
        if any(group['differences'][key]['difference'] is not None for group in shown.values())
    ]
    rows = [
        [
            name,
            whole(group['frames']),
            f'{figure(group["scores"][0]["miou"])} \N{RIGHTWARDS ARROW} '
            f'{figure(group["scores"][1]["miou"])}',
            *(_cell(group['differences'][key]) for key in used),
        ]
        for name, group in shown.items()
    ]
    heads = ['condition', 'frames', 'mIoU of both', *(SCORES[key] for key in used)]
    return table('Differences by condition, with 95 % intervals', heads, rows, class_='scores')


def _cell(entry: Mapping[str, Any]) -> Content:
    if entry['difference'] is None:
        return NOT_MEASURED
    value = signed(entry['difference'])
    return element(
        'td',
        element('b', value) if is_sure(entry) else value,
        element('small', _between(entry)) if entry['interval'] else None,
    )


def _chart(shown: Mapping[str, Any]) -> Element | None:
    """The difference of the mIoU of each condition with its interval."""
    entries = {name: group['differences']['miou'] for name, group in shown.items()}
    known = {
        name: (entry['difference'], entry['interval'])
        for name, entry in entries.items()
        if entry['difference'] is not None
    }
    if len(known) < SMALLEST_CHART:
        return None
    reached = [end for value, ends in known.values() for end in (value, *(ends or ()))]
    far = 1.1 * max(0.01, *map(abs, reached))
    title = 'Difference of the mIoU, better on the right'
    drawing = dots(known, (-far, far), title, signed, origin=0)
    return element('figure', scrolling(drawing, 'Difference of the mIoU'))


def _class_table(found: Mapping[str, Any], shown: Mapping[str, Any]) -> Element | None:
    names = [entry['name'] for entry in found['label_set']['classes']]
    entries = {
        (name, condition): group['differences']['iou'][name]
        for name in names
        for condition, group in shown.items()
    }
    rows = {
        name: [entries[name, condition]['difference'] for condition in shown] for name in names
    }
    sure = {key: is_sure(entry) for key, entry in entries.items()}
    return difference_table('Differences of the IoU by class', 'class', [*shown], rows, sure)


def _changed(frames: Sequence[Mapping[str, Any]]) -> Element | None:
    rows = [
        [
            frame['name'],
            words(frame['drive']),
            words(frame['condition']),
            *map(figure, frame['miou']),
            signed(frame['difference']),
        ]
        for frame in frames
    ]
    heads = ['frame', 'drive', 'condition', 'baseline', 'this', 'difference']
    return table('The frames whose mIoU changed most', heads, rows)
