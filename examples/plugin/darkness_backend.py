"""A backend: runs the network of a bundle with a library or on hardware that dgss does not know.

`dgss.backends` points to a function that takes the bundle and `BackendOptions`, and returns a
`dgss_core.Backend`. This one runs no network: dark pixels are class 0, others 1.
A backend that really runs the bundle sets `key`, so that its masks are compared with the bundle's
reference frames before it is trusted (docs/engines.md).
"""

from __future__ import annotations

import numpy as np

import dgss_core as dgss


class DarknessBackend:
    key = None

    def __init__(self, bundle: dgss.Bundle, threshold: int) -> None:
        self.name, self.identity = 'darkness', f'darkness below {threshold}'
        self.sha256 = bundle.fingerprint
        self._threshold = threshold

    def run(self, images: np.ndarray) -> dict[str, np.ndarray]:
        mask = (images.mean(-1) >= self._threshold).astype(np.uint8)
        return {'mask': mask, 'confidence': np.full_like(mask, 255)}

    def close(self) -> None:
        pass


def open_backend(bundle: dgss.Bundle, options: dgss.BackendOptions) -> DarknessBackend:
    _, _, threshold = options.name.partition(':')
    return DarknessBackend(bundle, int(threshold or 64))
