"""What a network answers for one image."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from dgss_core.images.view import nearest


@dataclass(frozen=True)
class Prediction:
    """`mask`: ids of the label set; `confidence`: 255 is certain. Both uint8 (H, W).

    `uncertainty`: uint8 (H, W), 255 is most unsure; `statistics`: float32 (K,), of the features.
    Both None where the bundle does not offer them.
    """

    mask: np.ndarray
    confidence: np.ndarray
    uncertainty: np.ndarray | None = None
    statistics: np.ndarray | None = None

    def resized(self, width: int, height: int) -> Prediction:
        """The same for an image of another size, each pixel the nearest of these."""
        unsure = self.uncertainty
        return replace(
            self,
            mask=nearest(self.mask, width=width, height=height),
            confidence=nearest(self.confidence, width=width, height=height),
            uncertainty=None if unsure is None else nearest(unsure, width=width, height=height),
        )
