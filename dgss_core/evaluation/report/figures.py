"""The figures of a report: reliability, retention, severity, latency."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from dgss_core.evaluation.report.charts import Plot, label, margin_for, short, ticks
from dgss_core.evaluation.report.elements import Content, Element, count_of, element, figure, whole
from dgss_core.evaluation.report.tables import heat_table, scrolling, side_by_side, table

SHARES = {0.0: '0', 0.5: '0.5', 1.0: '1'}
BARS = 40
"""Of a histogram."""


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


def retention(found: Mapping[str, Any]) -> list[Element]:
    """A bar for each condition: its mIoU as a share of that of the normal condition."""
    known = {name: value for name, value in found['conditions'].items() if value is not None}
    unknown = [name for name, value in found['conditions'].items() if value is None]
    names = sorted(known, key=lambda name: known[name])
    rows = len(names)
    plot = Plot(
        640,
        30 + 26 * rows,
        x=(0, max([1.0, *known.values()])),
        left=margin_for(names),
        right=50,
        top=4,
        bottom=26,
    )
    bars = []
    for place, name in enumerate(names):
        low = 1 - (place + 0.8) / rows
        bars.append(plot.bar((0, known[name]), (low, low + 0.6 / rows), 'fill'))
        end, y = plot.at(known[name], low + 0.3 / rows)
        bars.append(label(short(name), plot.left - 8, y + 4, anchor='end'))
        bars.append(label(figure(known[name], 2), end + 6, y + 4, anchor='start', class_='value'))
    listed = ', '.join(f'{name} {figure(known[name], 2)}' for name in names)
    words = [
        f'mIoU divided by that of {found["normal"]}.',
        f' Mean: {figure(found["mean"], 2)}.' if found.get('mean') is not None else '',
        f' Not measured: {", ".join(unknown)}.' if unknown else '',
    ]
    drawing = plot.draw(
        f'Retention: {listed}.',
        bars,
        plot.rule((1, 0), (1, 1), 'ideal'),
        [label(text, plot.at(v, 0)[0], plot.height - 8) for v, text in ticks(0, 1).items()],
    )
    return [element('p', words), *([scrolling(drawing, 'Retention')] if names else [])]


def severity(found: Mapping[str, Any]) -> list[Content]:
    """mIoU under every corruption at five severities, as curves and as a table of colours."""
    scores: Mapping[str, Sequence[float | None]] = found['scores']
    plot = Plot(640, 270, x=(0, 5), y=(0, 1), right=130, top=22)
    lines = {name: [found['clean'], *values] for name, values in scores.items()}
    mean = [_mean([values[k] for values in lines.values()]) for k in range(6)]
    worst = found['worst'][0] if found.get('worst') else None
    drawing = plot.draw(
        f'mIoU over severity: clean {figure(found["clean"])}, mean {figure(found["mean"])}, '
        f'at severity 5 {figure(found["severest"])}.',
        plot.grid({k: str(k) if k else 'clean' for k in range(6)}, ticks(0, 1, 5)),
        [plot.line(_points(values), 'faint') for values in lines.values()],
        _named(plot, lines[worst], worst, 'second') if worst in lines else None,
        _named(plot, mean, 'mean', 'main'),
        plot.titles('severity', 'mIoU'),
    )
    families = [[name, figure(value)] for name, value in found.get('families', {}).items()]
    heads = [str(level) for level in range(1, 6)]
    return [
        element('figure', scrolling(drawing, 'mIoU over severity')),
        side_by_side(
            heat_table('mIoU by corruption and severity', 'corruption', heads, scores),
            table('Mean mIoU by family', ['family', 'mIoU'], families),
        ),
    ]


def _named(plot: Plot, values: Sequence[float | None], name: str, class_: str) -> list[Element]:
    drawn = [plot.line(_points(values), class_)]
    if values[-1] is not None:
        x, y = plot.at(5, values[-1])
        drawn.append(label(name, x + 8, y + 4, anchor='start', class_=class_))
    return drawn


def _points(values: Sequence[float | None]) -> list[tuple[float, float] | None]:
    return [None if v is None else (place, v) for place, v in enumerate(values)]


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None


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
