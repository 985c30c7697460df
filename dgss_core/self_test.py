"""Whether a backend gives the masks that its bundle recorded when it was exported."""

from __future__ import annotations

import numpy as np

from dgss_core.errors import DgssError
from dgss_core.segmenter import Segmenter

LEAST_AGREEMENT = 0.98
"""Rounding moves borders between classes by a pixel; a wrong network changes far more."""


def self_test(segmenter: Segmenter) -> float | None:
    """The share of pixels whose class is that of the bundle's reference frames.

    None for a bundle without such frames. Raises DgssError below `LEAST_AGREEMENT`.
    """
    frames = segmenter.bundle.frames()
    if not frames:
        return None
    shares = {
        frame.name: float(np.mean(segmenter.predict([frame.image])[0].mask == frame.mask))
        for frame in frames
    }
    agreement = float(np.mean(list(shares.values())))
    if agreement < LEAST_AGREEMENT:
        worst = min(shares, key=lambda name: shares[name])
        raise DgssError(
            f'{segmenter.backend.name} gives other masks than {segmenter.bundle.identity} had when '
            f'it was exported: {agreement:.1%} of the pixels agree and {LEAST_AGREEMENT:.0%} must '
            f'(least in {worst}: {shares[worst]:.1%}); try another backend or export it again.'
        )
    return agreement
