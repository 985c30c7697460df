"""The scores of every condition and drive: tables, the intervals, and a map of the classes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import mean
from typing import Any

from dgss_core.evaluation.report.charts import dots
from dgss_core.evaluation.report.elements import (
    NOT_MEASURED,
    Content,
    Element,
    element,
    figure,
    percent,
    span,
    whole,
)
from dgss_core.evaluation.report.tables import heat_table, scrolling, table
from dgss_core.evaluation.results import ALL
from dgss_core.evaluation.scores import OOD

COLUMNS = {
    # score: its head, what it says
    'boundary_iou': ('boundary IoU', 'mIoU of the pixels near a border between classes'),
    'accuracy': ('accuracy', 'share of the labelled pixels whose class is right'),
    'ece': ('ECE', 'mean gap between confidence and accuracy; 0 is best'),
    'auroc': ('AUROC', 'chance that a right pixel is more certain than a wrong one'),
    'fpr95': ('FPR95', 'wrong pixels accepted where 95 % of the right ones are; 0 is best'),
    'aupr_success': ('AUPR right', 'average precision of finding right pixels by confidence'),
    'aupr_error': ('AUPR wrong', 'average precision of finding wrong pixels by doubt'),
}
SMALLEST_CHART = 2
"""A chart of fewer conditions would show what its table says."""


def interval(found: Mapping[str, Any], score: str) -> Sequence[float] | None:
    """The 95 % interval of a score, where there is one."""
    return (found.get('intervals') or {}).get(score)


def condition_table(conditions: Mapping[str, Mapping[str, Any]], what: str) -> list[Element]:
    """One row for each set of frames. A column that nothing fills is left out and named."""
    used = [key for key in COLUMNS if any(f.get(key) is not None for f in conditions.values())]
    rows: list[list[Content]] = [
        [
            name,
            whole(found['frames']),
            whole(found['labelled_pixels']),
            _with_interval(found, 'miou', strong=True),
            *(_with_interval(found, key) for key in used),
        ]
        for name, found in conditions.items()
    ]
    heads: list[Content] = [
        what,
        'frames',
        'labelled pixels',
        'mIoU',
        *(element('abbr', COLUMNS[key][0], title=COLUMNS[key][1]) for key in used),
    ]
    made = [table(f'Scores by {what}', heads, rows, class_='scores')]
    missing = [COLUMNS[key][0] for key in COLUMNS if key not in used]
    note = f'Not measured: {", ".join(missing)}.'
    made += [element('p', note, class_='note')] if missing else []
    return [part for part in made if part is not None]


def observed_table(
    conditions: Mapping[str, Mapping[str, Any]], frames: Sequence[Mapping[str, Any]]
) -> list[Element]:
    """What needs no labels: confidence, agreement, shift and flicker of each condition."""
    shifts = {
        name: [
            frame['shift']
            for frame in frames
            if frame.get('shift') is not None and name in (ALL, frame['condition'])
        ]
        for name in conditions
    }
    columns: dict[str, list[str | None]] = {
        'confidence': [_share(found.get('confidence')) for found in conditions.values()],
        'agreement': [_share(found.get('agreement')) for found in conditions.values()],
        'shift': [f'{mean(values):.2f}' if values else None for values in shifts.values()],
        **{
            f'flicker {stride}': [_share(_flicker(f, stride)) for f in conditions.values()]
            for stride in _strides(conditions)
        },
    }
    used = {head: cells for head, cells in columns.items() if any(cells)}
    if not used:
        return []
    rows = [
        [name, *(cells[place] or NOT_MEASURED for cells in used.values())]
        for place, name in enumerate(conditions)
    ]
    made = table('Means by condition', ['condition', *used], rows)
    notes = {
        'agreement': 'Agreement: the share of pixels to which the second bundle gives the same '
        'class.',
        'shift': 'Shift: standard deviations of the source.',
        'flicker 1': 'Flicker: the share of pixels that change their class over so many frames, '
        'after the motion of the scene is taken out.',
    }
    said = ' '.join(text for head, text in notes.items() if head in used)
    note = element('p', said, class_='note') if said else None
    return [part for part in (made, note) if part is not None]


def _share(value: float | None) -> str | None:
    return None if value is None else percent(value)


def _with_interval(found: Mapping[str, Any], key: str, *, strong: bool = False) -> Content:
    value = found.get(key)
    text: Content = figure(value)
    if value is None:
        return text
    between = span(interval(found, key))
    return element(
        'td',
        element('b', text) if strong else text,
        element('small', between) if between else None,
    )


def _strides(conditions: Mapping[str, Mapping[str, Any]]) -> list[str]:
    found = {stride for scores in conditions.values() for stride in (scores.get('flicker') or {})}
    return sorted(found, key=lambda stride: (len(stride), stride))


def _flicker(found: Mapping[str, Any], stride: str) -> float | None:
    return ((found.get('flicker') or {}).get(stride) or {}).get('value')


def column_words(conditions: Mapping[str, Mapping[str, Any]]) -> Element:
    """What each column of the table means."""
    used = [key for key in COLUMNS if any(f.get(key) is not None for f in conditions.values())]
    terms = [[element('dt', COLUMNS[key][0]), element('dd', COLUMNS[key][1])] for key in used]
    terms.insert(0, [element('dt', 'mIoU'), element('dd', 'mean over the classes of IoU')])
    return element(
        'details',
        element('summary', 'What the columns mean'),
        element('dl', terms, class_='terms'),
    )


def interval_chart(conditions: Mapping[str, Mapping[str, Any]]) -> Element | None:
    """The mIoU of each condition with its interval; None where a table says as much."""
    known = {
        name: (found['miou'], interval(found, 'miou'))
        for name, found in conditions.items()
        if found.get('miou') is not None
    }
    if len(known) < SMALLEST_CHART:
        return None
    reached = [end for value, ends in known.values() for end in (value, *(ends or ()))]
    x = max(0.0, min(reached) - 0.05), min(1.0, max(reached) + 0.05)
    drawing = dots(known, x, 'mIoU, with 95 % interval', figure)
    return element('figure', scrolling(drawing, 'mIoU by condition'))


def resampling(conditions: Mapping[str, Mapping[str, Any]]) -> str:
    """What the intervals are made of, in one sentence."""
    found = [scores.get('intervals') for scores in conditions.values()]
    known = [entry for entry in found if entry and entry.get('miou')]
    if not known:
        return 'There are no intervals: one drive or one frame has nothing to resample.'
    units = {entry['unit'] for entry in known}
    return (
        f'Intervals: 95 %, {whole(known[0]["resamples"])} resamples of '
        f'{" or ".join(sorted(f"{unit}s" for unit in units))}.'
    )


def class_heat(
    conditions: Mapping[str, Mapping[str, Any]], label_set: Mapping[str, Any]
) -> list[Element]:
    """IoU by class and condition; absent classes are named, with their treatment."""
    classes = [entry['name'] for entry in label_set['classes']]
    heads = list(conditions)
    rows = {
        '(mean)': [found.get('miou') for found in conditions.values()],
        **{name: [found['iou'].get(name) for found in conditions.values()] for name in classes},
    }
    instead = {
        (name, condition): 'absent'
        for condition, found in conditions.items()
        for name in found.get('absent', {}).get('classes', ())
    }
    colors = {entry['name']: entry['color'] for entry in label_set['classes']}
    made = heat_table('IoU by class', 'class', heads, rows, colors=colors, instead=instead)
    parts = [made, *(_named(conditions, key) for key in ('absent', 'unlabelled'))]
    return [part for part in parts if part is not None]


def _named(conditions: Mapping[str, Mapping[str, Any]], key: str) -> Element | None:
    """The classes that are absent, or predicted without labels, in each condition."""
    lines: list[str] = []
    treatment = ''
    for name, found in conditions.items():
        entry = found.get(key) or {}
        if entry.get('classes'):
            treatment = entry['treatment']
            lines.append(f'{name}: {", ".join(entry["classes"])}')
    if not lines:
        return None
    title = f'{treatment[:1].upper()}{treatment[1:]}'
    return element('p', element('b', title), f' \N{EN DASH} {"; ".join(lines)}.', class_='note')


def ood_table(conditions: Mapping[str, Mapping[str, Any]]) -> Element | None:
    """How well little confidence finds what lies outside the distribution."""
    rows = [
        [name, *(figure(ood[key]) for key in OOD), whole(ood['pixels'])]
        for name, found in conditions.items()
        if (ood := found.get('ood'))
    ]
    heads = ['condition', *(key.upper() for key in OOD), 'pixels']
    return table('Pixels outside the distribution, found by low confidence', heads, rows)


def bravo_table(found: Mapping[str, Any]) -> Element | None:
    """BRAVO's harmonic means."""
    rows: list[list[Content]] = [
        ['index', figure(found['index'])],
        ['semantic', figure(found['semantic'])],
        ['out of distribution', figure(found['ood'])],
        *([name, figure(value)] for name, value in found['conditions'].items()),
    ]
    return table('Harmonic means of the scores above', ['mean over', 'value'], rows)


def subset_table(conditions: Mapping[str, Mapping[str, Any]]) -> Element | None:
    """mIoU of named groups of classes."""
    names = list(dict.fromkeys(n for f in conditions.values() for n in f.get('subsets', {})))
    rows = {n: [f.get('subsets', {}).get(n) for f in conditions.values()] for n in names}
    return heat_table('mIoU of groups of classes', 'group', list(conditions), rows)
