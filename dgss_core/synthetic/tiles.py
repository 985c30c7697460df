"""Tileable textures, sampled without end in both directions."""

import cv2
import numpy as np

_PAD = 2


class Tiles:
    """A square texture, uint8 (n, n, c), n a power of two, that is repeated without end."""

    def __init__(self, texture: np.ndarray) -> None:
        self._texture = np.pad(texture, ((0, _PAD), (0, _PAD), (0, 0)), mode='wrap')
        self._last = texture.shape[0] - 1

    def at(self, u: np.ndarray, v: np.ndarray) -> np.ndarray:
        """The texture at columns `u` and rows `v`, float32 (h, w) each, between four texels.

        h and w are below 2**15. The coordinates are rounded as `cv2.remap` does, and wrapped
        around before it sees them: it is several times slower at the edge of a texture.
        """
        places, fraction = cv2.convertMaps(u, v, cv2.CV_16SC2)
        places &= self._last
        return cv2.remap(self._texture, places, fraction, cv2.INTER_LINEAR)
