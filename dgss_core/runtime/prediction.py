"""The answer of a network for one image."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from dgss_core.images.view import nearest


@dataclass(frozen=True)
class Prediction:
    """`mask`: ids of the label set; `confidence`: 255 is certain. Both uint8 (H, W).

    `uncertainty`: uint8 (H, W), 255 is most unsure; `statistics`: float32 (K,), of the features.
    Both are None if the bundle does not provide them.
    """

    mask: np.ndarray
    confidence: np.ndarray
    uncertainty: np.ndarray | None = None
    statistics: np.ndarray | None = None

    def resized(self, *, height: int, width: int) -> Prediction:
        """Resize mask, confidence and uncertainty to another size by the nearest pixel."""
        unsure = self.uncertainty
        return replace(
            self,
            mask=nearest(self.mask, width=width, height=height),
            confidence=nearest(self.confidence, width=width, height=height),
            uncertainty=None if unsure is None else nearest(unsure, width=width, height=height),
        )
