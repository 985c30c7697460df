"""Whether a network still gives the masks that its bundle recorded when it was exported.

This is for every start, and coarse: it notices a network, an engine or a driver that is wrong.
What precision costs is proven once, by `dgss_core.runtime.engines`.
"""

from __future__ import annotations

import numpy as np

from dgss_core.errors import DgssError
from dgss_core.runtime.engines.verify import GATES, SURE
from dgss_core.runtime.segmenter import Segmenter

LEAST_AGREEMENT = min(gates.sure for gates in GATES.values())
"""What even the coarsest precision reaches; a wrong network is far below."""


def self_test(segmenter: Segmenter) -> float | None:
    """The share of the pixels that the reference was sure of whose class is the reference's.

    None for a bundle without reference frames. Raises DgssError below `LEAST_AGREEMENT`.
    """
    equal = total = 0
    for frame in segmenter.bundle.frames():
        sure = frame.confidence >= SURE
        equal += np.count_nonzero(
            segmenter.predict([frame.image])[0].mask[sure] == frame.mask[sure]
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
