"""The figures of a report: reliability, retention, severity, latency."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from dgss_core.evaluation.report.charts import Plot, label, short, ticks
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
from dgss_core.evaluation.report.tables import heat_table, scrolling, side_by_side, table, words
from dgss_core.evaluation.scores import average

SHARES = {0.0: '0', 0.5: '0.5', 1.0: '1'}
BARS = 40
"""Of a histogram."""
SUMMARY = {
    'mean': 'mIoU',
    'severest': 'mIoU at severity 5',
    'retention': 'retention',
    'retention_severest': 'retention at severity 5',
}


def reliability(conditions: Mapping[str, Mapping[str, Any]]) -> list[Content]:
    """Confidence against accuracy of each condition, as a curve and as a table."""
    known = {name: found for name, found in conditions.items() if found.get('confidence_pixels')}
    return [
        element('div', [_curve(name, found) for name, found in known.items()], class_='multiples'),
        element('details', element('summary', 'The curves as a table'), _bins(known)),
    ]


def _curve(name: str, found: Mapping[str, Any]) -> Element:
    bins = [entry for entry in found['reliability'] if entry['pixels']]
    plot = Plot(216, 226, left=34, top=22)
    most = max(entry['pixels'] for entry in bins)
    gap = sum(entry['confidence'] - entry['accuracy'] for entry in bins) / len(bins)
    lean = 'more certain than right' if gap > 0 else 'less certain than right'
    summary = f'Reliability of {name}: ECE {figure(found["ece"])}, on average of the bins {lean}.'
    drawing = plot.draw(
        summary,
        plot.grid(SHARES, SHARES),
        plot.rule((0, 0), (1, 1), 'ideal'),
        plot.line([(entry['confidence'], entry['accuracy']) for entry in bins], 'main'),
        [
            plot.dot(
                entry['confidence'],
                entry['accuracy'],
                'main',
                2 + 5 * math.sqrt(entry['pixels'] / most),
            )
            for entry in bins
        ],
        plot.titles('confidence', 'accuracy'),
    )
    caption = element('figcaption', element('b', name), f'  ECE {figure(found["ece"])}')
    return element('figure', caption, drawing)


def _bins(conditions: Mapping[str, Mapping[str, Any]]) -> Element | None:
    rows = [
        [name, figure(entry['confidence']), figure(entry['accuracy']), whole(entry['pixels'])]
        for name, found in conditions.items()
        for entry in found['reliability']
        if entry['pixels']
    ]
    heads = ['condition', 'mean confidence', 'accuracy', 'pixels']
    return table('Bins of confidence that hold pixels', heads, rows)


def retention(found: Mapping[str, Any]) -> list[Content]:
    """A bar for each condition: its mIoU as a share of that of the normal condition."""
    shares = {name: value or 0.0 for name, value in found['conditions'].items()}
    longest = max([1.0, *shares.values()])
    rows = [
        [name, figure(found['conditions'][name], 2), _meter(shares[name] / longest)]
        for name in sorted(shares, key=lambda name: shares[name])
    ]
    mean = f' The mean is {figure(found["mean"], 2)}.' if found['mean'] is not None else ''
    return [
        element('p', f'Retention is the mIoU divided by that of {found["normal"]}.{mean}'),
        table('Retention', ['condition', 'retention', f'0 to {longest:.2g}'], rows),
    ]


def _meter(share: float) -> Element:
    bar = element('span', class_='meter', style=f'width:{share:.1%}')
    return element('td', bar, class_='wide')


def severity(
    found: Mapping[str, Any], name: str, against: Mapping[str, Any] | None = None
) -> list[Content]:
    """mIoU under every corruption over its severity, as curves and as tables of colours.

    `name`: of the predictor. `against`: the second one, whose `corruptions` are drawn beside.
    """
    suites = {name: found}
    if against and against.get('corruptions'):
        suites[f'against {against["identity"]}'] = against['corruptions']
    heads = [str(level) for level in found['severities']]
    families = [
        [family, *(figure(suite['families'].get(family)) for suite in suites.values())]
        for family in found['families']
    ]
    return [
        table(
            'Means over corruptions',
            ['corruptions', *SUMMARY.values(), 'worst'],
            _summaries(suites),
            class_='scores',
        ),
        _curves(suites),
        side_by_side(
            heat_table('mIoU by corruption and severity', 'corruption', heads, found['scores']),
            table('Mean mIoU by family', ['family', *suites], families),
        ),
        _beside(suites),
    ]


def _summaries(suites: Mapping[str, Mapping[str, Any]]) -> list[list[Content]]:
    """The summary of all corruptions and of the benchmark, for each predictor."""
    rows: list[list[Content]] = []
    for name, suite in suites.items():
        parts = {'all': suite, 'the 16 of the benchmark': suite['benchmark']}
        for part, summary in parts.items():
            worst = summary['worst']
            said = f'{worst[0]} {worst[1]}: {figure(worst[2])}' if worst else NOT_MEASURED
            title = f'{part}, {name}' if len(suites) > 1 else part
            rows.append([title, *(figure(summary[key]) for key in SUMMARY), words(said)])
    return rows


def _curves(suites: Mapping[str, Mapping[str, Any]]) -> Element:
    """The mean of every predictor, the corruption that hurts the first most, and the others."""
    (name, found), *others = suites.items()
    levels = [0, *found['severities']]
    lines = {key: [found['clean'], *values] for key, values in found['scores'].items()}
    worst = (found['worst'] or [None])[0]
    named = {
        'mean': ('main', _means(found)),
        **({worst: ('second', lines[worst])} if worst in lines else {}),
        **{key: ('other', _means(suite)) for key, suite in others},
    }
    plot = Plot(680, 270, x=(0, levels[-1]), y=(0, 1), right=190, top=22)
    drawing = plot.draw(
        f'mIoU over severity of {name}: clean {figure(found["clean"])}, mean '
        f'{figure(found["mean"])}, at severity 5 {figure(found["severest"])}.',
        plot.grid({k: str(k) if k else 'clean' for k in levels}, ticks(0, 1, 5)),
        [plot.line(_points(levels, values), 'faint') for values in lines.values()],
        [plot.line(_points(levels, values), kind) for kind, values in named.values()],
        _ends(plot, {key: (kind, values[-1]) for key, (kind, values) in named.items()}),
        plot.titles('severity', 'mIoU'),
    )
    return element('figure', scrolling(drawing, 'mIoU over severity'))


def _ends(plot: Plot, lines: Mapping[str, tuple[str, float | None]]) -> list[Element]:
    """The names of lines at their ends, moved apart where they would cover each other."""
    drawn, last = [], -math.inf
    known = {name: (kind, end) for name, (kind, end) in lines.items() if end is not None}
    for name, (kind, end) in sorted(known.items(), key=lambda line: -line[1][1]):
        x, y = plot.at(plot.x[1], end)
        last = max(y + 4, last + 14)
        drawn.append(label(short(name), x + 8, last, anchor='start', class_=kind))
    return drawn


def _means(suite: Mapping[str, Any]) -> list[float | None]:
    """The mIoU of the clean frames, and the mean over the corruptions at each severity."""
    columns = zip(*suite['scores'].values(), strict=True)
    return [suite['clean'], *map(average, columns)]


def _beside(suites: Mapping[str, Mapping[str, Any]]) -> Element | None:
    """The mean over the severities of each corruption, of two predictors, and the difference."""
    if len(suites) < 2:
        return None
    ours, theirs = (suite['scores'] for suite in suites.values())
    rows: list[list[Content]] = []
    for name in ours:
        one, other = (average(scores.get(name, [])) for scores in (ours, theirs))
        difference = None if one is None or other is None else one - other
        rows.append([name, figure(one), figure(other), signed(difference)])
    return table('Mean mIoU by corruption', ['corruption', *suites, 'difference'], rows)


def _points(
    levels: Sequence[int], values: Sequence[float | None]
) -> list[tuple[float, float] | None]:
    return [None if v is None else (level, v) for level, v in zip(levels, values, strict=True)]


def latency(found: Mapping[str, Any]) -> list[Element]:
    """How long the masks took, as a histogram with its percentiles."""
    values = found.get('latencies_ms') or []
    if not values:
        return []
    highest = max(values)
    counts = [0] * BARS
    for value in values:
        counts[min(BARS - 1, int(value / (highest or 1) * BARS))] += 1
    plot = Plot(640, 200, x=(0, highest or 1), y=(0, max(counts)), top=26)
    marks = found.get('latency_ms') or {}
    known = {name: value for name, value in marks.items() if value is not None}
    listed = ', '.join(f'{name} {value:.1f} ms' for name, value in known.items())
    width = (highest or 1) / BARS
    drawing = plot.draw(
        f'Latency of {count_of(len(values), "frame")}: {listed or "no percentiles"}.',
        plot.grid(ticks(0, highest, 6), ticks(0, max(counts), 3)),
        [
            plot.bar((k * width, (k + 0.9) * width), (0, count), 'fill')
            for k, count in enumerate(counts)
            if count
        ],
        [plot.rule((v, 0), (v, max(counts)), 'ideal') for v in known.values() if v <= highest],
        _apart(plot, {name: value for name, value in known.items() if value <= highest}),
        plot.titles('milliseconds from the image to its mask'),
    )
    return [element('figure', scrolling(drawing, 'Latency'))]


def _apart(plot: Plot, marks: Mapping[str, float]) -> list[Element]:
    """Texts over the marks, in two rows where they are near each other."""
    drawn, last, row = [], -math.inf, 0
    for name, value in sorted(marks.items(), key=lambda mark: mark[1]):
        x = plot.at(value, 0)[0]
        row = 1 - row if x - last < 34 else 0
        drawn.append(label(name, x, 9 + 12 * row))
        last = x
    return drawn
