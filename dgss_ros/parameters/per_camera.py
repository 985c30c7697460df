"""The parameters that each named camera has for itself."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from dgss_core.images.view import ROTATIONS
from dgss_ros.parameters.declaration import Declaration
from dgss_ros.parameters.table import ROI, ROTATION

AS_INPUT: dict[str, Any] = {'rotation': -1, 'roi': []}
"""Values of the parameters of a camera that stand for those of `input`."""


def camera_parameters(cameras: Sequence[str]) -> tuple[Declaration, ...]:
    """Return `CAMERA.rotation` and `CAMERA.roi`, which override those of `input`."""
    return tuple(
        declaration
        for camera in cameras
        for declaration in (
            replace(
                ROTATION,
                name=f'{camera}.rotation',
                default=AS_INPUT['rotation'],
                choices=(AS_INPUT['rotation'], *ROTATIONS),
                description='Like input.rotation, for this camera only; -1 for input.rotation.',
            ),
            replace(
                ROI,
                name=f'{camera}.roi',
                default=AS_INPUT['roi'],
                description='Like input.roi, for this camera only; empty for input.roi, four '
                'zeros for the whole image.',
            ),
        )
    )
