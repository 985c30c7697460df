"""What the scores under corruption come to.

The benchmark is that of Kamann and Rother, "Benchmarking the Robustness of Semantic Segmentation
Models", CVPR 2020: 16 corruptions, the noises at severities 1 to 3 alone, and the mean over the
means of the corruptions. The retention is the mean mIoU under corruption, divided by that of the
clean frames. The four on streets are ours, and count in no figure of the benchmark.
"""

from __future__ import annotations

from collections.abc import Mapping

from dgss_core.corruptions import CORRUPTIONS
from dgss_core.evaluation.corruption_suite import CLEAN, Cell, Counts
from dgss_core.evaluation.measures import measures
from dgss_core.evaluation.results import Suite, Summary
from dgss_core.evaluation.scores import average, number

STREET = 'street'
"""The family that is not part of the benchmark."""
NOISE, REAL_NOISE = 'noise', 3
"""The family whose higher severities are not part of it: a camera hardly has so much noise."""
SEVEREST = 5


def suite_results(counts: Counts) -> Suite:
    """The results of one predictor, from what `run_suite` counted."""
    found = {cell: measures(one) for cell, one in counts.items()}
    miou = {cell: number(values['miou']) for cell, values in found.items()}
    ece = {cell: number(values['ece']) for cell, values in found.items()}
    clean = miou.pop(CLEAN)
    severities = sorted({cell.severity for cell in miou})
    family = {cell.name: CORRUPTIONS[cell.name].family for cell in miou}
    known = {cell: value for cell, value in miou.items() if value is not None}
    benchmark = {cell: value for cell, value in known.items() if _is_benchmark(cell)}
    return {
        'frames': int(counts[CLEAN].frames),
        'severities': severities,
        'clean': clean,
        'clean_ece': ece.pop(CLEAN),
        'scores': {name: [miou[Cell(name, s)] for s in severities] for name in family},
        'ece': {name: [ece[Cell(name, s)] for s in severities] for name in family},
        'families': {
            one: average(value for c, value in known.items() if family[c.name] == one)
            for one in dict.fromkeys(family.values())
        },
        'benchmark': _summary(benchmark, clean),
        **_summary(known, clean),
    }


def _is_benchmark(cell: Cell) -> bool:
    family = CORRUPTIONS[cell.name].family
    return family != STREET and not (family == NOISE and cell.severity > REAL_NOISE)


def _summary(miou: Mapping[Cell, float], clean: float | None) -> Summary:
    names = dict.fromkeys(cell.name for cell in miou)
    mean = average(average(v for c, v in miou.items() if c.name == name) for name in names)
    severest = average(value for cell, value in miou.items() if cell.severity == SEVEREST)
    worst = min(miou, key=lambda cell: miou[cell], default=None)
    return {
        'mean': mean,
        'severest': severest,
        'worst': None if worst is None else (*worst, miou[worst]),
        'retention': mean / clean if mean is not None and clean else None,
        'retention_severest': severest / clean if severest is not None and clean else None,
    }
