"""The report of an evaluation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from dgss_core.evaluation.report import conditions, figures, sections
from dgss_core.evaluation.report.elements import NOT_MEASURED, Content, count_of, element
from dgss_core.evaluation.report.gallery import (
    Encoded,
    Picture,
    class_palette,
    encode_all,
    gallery,
)
from dgss_core.evaluation.report.page import Section, build_page
from dgss_core.evaluation.report.timeline import MOST_DRIVES, SERIES, Drive, drives, timelines
from dgss_core.evaluation.results import ALL, told
from dgss_core.files import write_whole

LARGEST = 14_500_000
"""Bytes of a report: it can be mailed, and opens at once."""
DIGITS = 4
"""Decimals of the values that the script shows."""


def write_report(results: Mapping[str, Any], pictures: Sequence[Picture], path: Path) -> None:
    """Write `build_report` to `path` at once. Raises OSError if that fails."""
    write_whole(path, build_report(results, pictures).encode())


def build_report(
    results: Mapping[str, Any], pictures: Sequence[Picture] = (), largest: int = LARGEST
) -> str:
    """The report of `results`, in the form of `results.json`, as HTML.

    Parts that the results lack are left out. `pictures`: read several times, so that a sequence
    that reads its frames on demand keeps the memory small. They shrink until the page has at most
    `largest` bytes; without them it has some 100 bytes for each frame.
    """
    shown, left_out = drives(results)
    bare = len(_page(results, (), 0, shown, left_out).encode())
    encoded, missing = encode_all(
        pictures, class_palette(results['label_set']), largest - bare - 2_000 * (1 + len(pictures))
    )
    return _page(results, encoded, missing, shown, left_out)


def _page(
    results: Mapping[str, Any],
    pictures: Sequence[Encoded],
    missing: int,
    shown: Sequence[Drive],
    left_out: int,
) -> str:
    frames = results['frames']
    threshold = (results.get('monitor') or {}).get('threshold')
    parts = [
        *_measured(results),
        Section('timeline', 'Time line', timelines(shown, left_out, frames, threshold)),
        Section(
            'gallery',
            'Frames',
            gallery(pictures, missing, frames, results['label_set']) if pictures else [],
        ),
        Section(
            'label-next', 'Frames to label next', _if(results, 'label_next', sections.label_next)
        ),
        Section('problems', 'Problems', _if(results, 'problems', sections.problems)),
        Section('made', 'How it was made', sections.made(results)),
    ]
    used = sorted({*(picture.frame for picture in pictures), *(f for _, fs in shown for f in fs)})
    data = {
        'frames': {place: _facts(frames[place]) for place in used},
        'series': {key: name for key, (name, _) in SERIES.items()},
        'pictures': [
            {'frame': picture.frame, 'note': picture.note, 'layers': picture.layers}
            for picture in pictures
        ],
        'timelines': [places for _, places in shown],
    }
    return build_page(
        f'{sections.title(results)}, evaluation',
        sections.head(results),
        parts,
        data,
        f'dgss evaluate, {results["made"]}. The figures are those of results.json.',
    )


def _measured(results: Mapping[str, Any]) -> list[Section]:
    """The sections of figures, in the order in which a reader asks for them."""
    scores = results['conditions']
    shown = told(scores)
    is_scored = bool(scores[ALL]['labelled_pixels'])
    ranked: list[Content] = []
    if any(found.get('confidence_pixels') for found in shown.values()):
        ranked = [*figures.reliability(shown)]
    return [
        Section('verdict', 'Verdict', _if(results, 'verdicts', sections.verdict)),
        Section('summary', 'Summary', sections.summary(results)),
        Section('conditions', 'Conditions', _conditions(shown) if is_scored else []),
        Section(
            'classes',
            'Classes',
            [
                *conditions.class_heat(shown, results['label_set']),
                conditions.subset_table(shown),
            ]
            if is_scored
            else [],
        ),
        Section('reliability', 'Reliability', ranked),
        Section('retention', 'Retention', _retention(results)),
        Section('ood', 'Outside the distribution', [conditions.ood_table(shown)]),
        Section('bravo', 'BRAVO', _bravo(results)),
        Section('corruptions', 'Corruptions', _corruptions(results)),
        Section('monitor', 'Domain shift monitor', _if(results, 'monitor', sections.monitor)),
        Section(
            'estimated', 'Estimated conditions', _if(results, 'estimated', sections.estimated)
        ),
        Section('live', 'Live replay', _if(results, 'live', _live)),
        Section('drives', 'Drives', _drives(results) if is_scored else []),
        Section(
            'observed',
            'What needs no labels',
            conditions.observed_table(shown, results['frames']),
        ),
    ]


def _if(results: Mapping[str, Any], key: str, draw: Any) -> Sequence[Content]:
    """`draw` of a part of the results; nothing if they lack it."""
    return draw(results[key]) if results.get(key) else []


def _conditions(shown: Mapping[str, Any]) -> list[Content]:
    return [
        *conditions.condition_table(shown, 'condition'),
        element('p', conditions.resampling(shown), class_='note'),
        conditions.column_words(shown),
        conditions.interval_chart(shown),
    ]


def _retention(results: Mapping[str, Any]) -> Sequence[Content]:
    found = results.get('retention')
    if not found or not any(value is not None for value in found['conditions'].values()):
        return []
    return figures.retention(found)


def _bravo(results: Mapping[str, Any]) -> list[Content]:
    found = results.get('bravo') or {}
    known = any(value is not None for key, value in found.items() if key != 'conditions')
    return [conditions.bravo_table(found)] if known else []


def _corruptions(results: Mapping[str, Any]) -> Sequence[Content]:
    found = results.get('corruptions')
    name = results['predictor']['identity']
    return figures.severity(found, name, results.get('against')) if found else []


def _live(found: Mapping[str, Any]) -> list[Content]:
    return [*sections.live(found), *figures.latency(found)]


def _drives(results: Mapping[str, Any]) -> list[Content]:
    found = results.get('drives') or {}
    if len(found) < 2:
        return []
    shown = {name: found[name] for name in sorted(found)[:MOST_DRIVES]}
    missing = len(found) - len(shown)
    more = f'{count_of(missing, "more drive")}: see results.json.' if missing else ''
    return [
        element(
            'details',
            element('summary', count_of(len(found), 'drive')),
            conditions.condition_table(shown, 'drive'),
            element('p', more, class_='note') if more else None,
        )
    ]


def _facts(frame: Mapping[str, Any]) -> dict[str, Any]:
    """What the script says of a frame."""
    values = {key: frame.get(key) for key in SERIES}
    return {
        'name': frame['name'],
        'condition': frame['condition'],
        **{
            key: NOT_MEASURED if value is None else round(value, DIGITS)
            for key, value in values.items()
            if value is not None or key == 'miou'
        },
    }
