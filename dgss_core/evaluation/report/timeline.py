"""The time line of a drive: what each frame scored, and a slider that moves through its frames."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from dgss_core.evaluation.report.charts import Plot, columns, label
from dgss_core.evaluation.report.elements import Content, Element, count_of, element
from dgss_core.evaluation.report.tables import scrolling

SERIES = {
    # field of a frame: its title, whether its axis is 0 to 1
    'miou': ('mIoU', True),
    'agreement': ('agreement', True),
    'confidence': ('confidence', True),
    'shift': ('shift', False),
    'flicker': ('flicker', False),
}
WIDTH, LEFT, RIGHT, LANE, GAP, AXIS = 760, 130, 16, 56, 16, 20
SHORTEST = 2
MOST = 20_000
"""Frames in time lines. Those of longer evaluations would fill the page."""
MOST_DRIVES = 200

Drive = tuple[str, list[int]]
"""A title, and the places of its frames."""


def drives(results: Mapping[str, Any]) -> tuple[list[Drive], int]:
    """The drives that are shown, and the number of those that are not, because they are too many.

    Pictures without a drive are one line for each source.
    """
    groups: dict[tuple[int, str], list[int]] = {}
    for place, frame in enumerate(results['frames']):
        if any(frame.get(key) is not None for key in SERIES):
            groups.setdefault((frame['source'], frame['drive']), []).append(place)
    shown: list[Drive] = []
    left_out = total = 0
    for (source, drive), places in groups.items():
        if len(places) < SHORTEST:
            continue
        if total + len(places) > MOST or len(shown) == MOST_DRIVES:
            left_out += 1
            continue
        total += len(places)
        title = results['sources'][source]['title']
        shown.append((f'{drive} \N{EN DASH} {title}' if drive else title, places))
    return shown, left_out


def timelines(
    shown: Sequence[Drive],
    left_out: int,
    frames: Sequence[Mapping[str, Any]],
    threshold: float | None = None,
) -> list[Element]:
    """A figure for each drive; the first is open. `threshold`: of the shift, drawn beside it."""
    made = [
        element(
            'details',
            element('summary', title, ' ', element('small', count_of(len(places), 'frame'))),
            _figure(number, title, [frames[place] for place in places], threshold),
            open=number == 0,
        )
        for number, (title, places) in enumerate(shown)
    ]
    if left_out:
        text = f'{count_of(left_out, "more drive")} would fill the page: see results.json.'
        made.append(element('p', text, class_='note'))
    return made


def _figure(
    number: int, title: str, frames: Sequence[Mapping[str, Any]], threshold: float | None
) -> Element:
    used = [key for key in SERIES if any(frame.get(key) is not None for frame in frames)]
    last = len(frames) - 1
    height = AXIS + len(used) * (LANE + GAP)
    lanes = [
        _lane(
            key,
            [frame.get(key) for frame in frames],
            AXIS + place * (LANE + GAP),
            height,
            threshold if key == 'shift' else None,
        )
        for place, key in enumerate(used)
    ]
    plot = Plot(WIDTH, height, x=(0, last), left=LEFT, right=RIGHT, top=AXIS, bottom=0)
    drawing = plot.draw(
        f'Time line of {title}: {", ".join(SERIES[key][0] for key in used)} of each frame. '
        'The slider below reads out the values of a frame.',
        _conditions(plot, frames),
        lanes,
        element('line', x1=LEFT, x2=LEFT, y1=AXIS - 4, y2=height, class_='cursor'),
        class_='lanes',
    )
    slider = element(
        'input', type='range', min='0', max=last, value='0', id=f'time-{number}', class_='time'
    )
    return element(
        'figure',
        scrolling(drawing, f'Time line of {title}'),
        element(
            'div',
            element('label', 'Frame', for_=f'time-{number}'),
            slider,
            element('button', 'Show the frame', type='button'),
            class_='bar',
        ),
        element('output', for_=f'time-{number}', class_='values'),
        class_='timeline',
        data_timeline=number,
        data_left=LEFT,
        data_right=WIDTH - RIGHT,
    )


def _lane(
    key: str,
    values: Sequence[float | None],
    top: float,
    height: float,
    threshold: float | None,
) -> list[Element]:
    title, is_share = SERIES[key]
    known = [value for value in values if value is not None]
    low, high = (0.0, 1.0) if is_share else (0.0, max([*known, threshold or 0]) or 1.0)
    plot = Plot(
        WIDTH,
        height,
        x=(0, len(values) - 1),
        y=(low, high),
        left=LEFT,
        right=RIGHT,
        top=top,
        bottom=height - top - LANE,
    )
    y = top + LANE / 2 + 4
    return [
        plot.rule((0, low), (len(values) - 1, low)),
        label(title, LEFT - 40, y, anchor='end', class_='lane'),
        label(f'{high:.3g}', LEFT - 8, top + 9, anchor='end'),
        label(f'{low:g}', LEFT - 8, top + LANE, anchor='end'),
        *([plot.rule((0, threshold), (len(values) - 1, threshold), 'ideal')] if threshold else []),
        plot.line(columns(values), 'main thin'),
        *_lonely(plot, values),
    ]


def _lonely(plot: Plot, values: Sequence[float | None]) -> list[Element]:
    """A dot for each value whose neighbours are not measured: a line through it has no length."""
    padded = [None, *values, None]
    return [
        plot.dot(place, value, 'main', 1.5)
        for place, value in enumerate(values)
        if value is not None and padded[place] is None and padded[place + 2] is None
    ]


def _conditions(plot: Plot, frames: Sequence[Mapping[str, Any]]) -> list[Content]:
    """The condition over each stretch of frames that share it."""
    drawn: list[Content] = []
    start = 0
    for place in range(1, len(frames) + 1):
        name = frames[start]['condition']
        if place < len(frames) and frames[place]['condition'] == name:
            continue
        x, _ = plot.at(start, 0)
        room = plot.at(place, 0)[0] - x
        if start:
            drawn.append(element('line', x1=x, x2=x, y1=4, y2=plot.height, class_='change'))
        if room > 10 * len(name):
            drawn.append(label(name, x + 4, 11, anchor='start', class_='lane'))
        start = place
    return drawn
