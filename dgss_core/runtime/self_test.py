"""Check that a network still gives the masks that were recorded at export.

This coarse test runs at every start and finds a wrong network, engine or driver. The loss by
precision is checked once, by `dgss_core.runtime.engines`.
"""

from __future__ import annotations

import numpy as np

from dgss_core.errors import DgssError
from dgss_core.runtime.bundle import Bundle
from dgss_core.runtime.engines.verify import GATES, SURE
from dgss_core.runtime.segmenter import Segmenter

LEAST_AGREEMENT = min(gates.sure for gates in GATES.values())
"""The lowest gate of all precisions; a wrong network is far below it."""


def why_untested(bundle: Bundle) -> str:
    """Why `self_test` gives None for `bundle`, as the end of a sentence about it."""
    frames = len(bundle.frames())
    if not frames:
        return 'has no reference frames: nothing to test it with'
    return (
        f'has {frames} reference frames, but in none of them is the reference sure of a pixel '
        f'(a confidence of {SURE} of 255): nothing to test it with; export it again with --frames '
        'of what it was trained for'
    )


def self_test(segmenter: Segmenter) -> float | None:
    """Return the share of equal classes, 0 to 1, over the pixels the reference is sure of.

    None if there are no such pixels, as in a bundle without reference frames. Raises DgssError
    below `LEAST_AGREEMENT`.
    """
    equal = total = 0
    for frame in segmenter.bundle.frames():
        sure = frame.confidence >= SURE
        equal += np.count_nonzero(
            segmenter.predict_prepared([frame.image])[0].mask[sure] == frame.mask[sure]
        )
        total += np.count_nonzero(sure)
    if not total:
        return None
    agreement = equal / total
    if agreement < LEAST_AGREEMENT:
        raise DgssError(
            f'{segmenter.backend.name} gives other masks than {segmenter.bundle.identity} had '
            f'when it was exported: {agreement:.1%} of the pixels agree and {LEAST_AGREEMENT:.1%} '
            'must; try another backend, or export the bundle again.'
        )
    return agreement
