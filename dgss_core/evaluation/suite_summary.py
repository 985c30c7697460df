"""What the scores under corruption come to.

The 16 corruptions and the severities are those of Kamann and Rother, "Benchmarking the Robustness
of Semantic Segmentation Models", CVPR 2020. The retention is the mean mIoU under corruption,
divided by that of the clean frames. The four on streets are ours, and count in no figure of the
benchmark.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from dgss_core.corruptions import CORRUPTIONS
from dgss_core.evaluation.corruption_suite import CLEAN, Cell, Counts
from dgss_core.evaluation.counts import FrameCounts
from dgss_core.evaluation.measures import measures
from dgss_core.evaluation.results import Corrupted, Strength, Suite, Summary
from dgss_core.evaluation.scores import number

STREET = 'street'
"""The family that is not part of the benchmark."""
STRONGEST = 5


def suite_results(counts: Counts) -> Suite:
    """The results of one predictor, in the form `results.Suite`. `counts`: as of `run_suite`."""
    scores = {cell: _strength(one) for cell, one in counts.items()}
    miou = {cell: found['miou'] for cell, found in scores.items()}
    clean = miou[CLEAN]
    names = list(dict.fromkeys(cell.name for cell in miou if cell != CLEAN))
    families = list(dict.fromkeys(CORRUPTIONS[name].family for name in names))

    def summary(chosen: Iterable[str]) -> Summary:
        inside = {*chosen}
        return _summary({c: v for c, v in miou.items() if c.name in inside}, clean)

    def members(family: str) -> list[str]:
        return [name for name in names if CORRUPTIONS[name].family == family]

    return {
        'frames': int(counts[CLEAN].frames),
        'clean': scores[CLEAN],
        'corruptions': {
            name: Corrupted(
                family=CORRUPTIONS[name].family,
                severities={str(c.severity): scores[c] for c in miou if c.name == name},
                summary=summary([name]),
            )
            for name in names
        },
        'families': {family: summary(members(family)) for family in families},
        'benchmark': summary(n for n in names if CORRUPTIONS[n].family != STREET),
        'all': summary(names),
    }


def _strength(counts: FrameCounts) -> Strength:
    found = measures(counts)
    return Strength(
        miou=number(found['miou']), accuracy=number(found['accuracy']), ece=number(found['ece'])
    )


def _summary(miou: Mapping[Cell, float | None], clean: float | None) -> Summary:
    known = {cell: value for cell, value in miou.items() if value is not None}
    strong = [value for cell, value in known.items() if cell.severity == STRONGEST]
    worst = min(known, key=lambda cell: known[cell], default=None)
    mean, level5 = _mean(known.values()), _mean(strong)
    return {
        'mean': mean,
        'worst': None if worst is None else known[worst],
        'worst_at': '' if worst is None else f'{worst.name} {worst.severity}',
        'level5': level5,
        'retention': mean / clean if mean is not None and clean else None,
        'retention_level5': level5 / clean if level5 is not None and clean else None,
    }


def _mean(values: Iterable[float]) -> float | None:
    values = [*values]
    return sum(values) / len(values) if values else None
