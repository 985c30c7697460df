"""The one table of the node's parameters."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

from dgss_core.errors import DgssError
from dgss_core.images.view import ROTATIONS
from dgss_core.runtime.backends import check_backend
from dgss_ros.parameters.declaration import ANY_TIME, AT_START, UNCONFIGURED, Declaration


def _check_cameras(names: Sequence[str]) -> None:
    for name in names:
        if not re.fullmatch('[a-zA-Z][a-zA-Z0-9_]*', name):
            raise DgssError(f'{name!r} cannot name a camera; use letters, digits and _ only.')
        if name in {declaration.name.split('.')[0] for declaration in PARAMETERS}:
            raise DgssError(f'{name!r} cannot name a camera; it begins names of parameters.')
    if len(set(names)) < len(names):
        raise DgssError(f'cameras names one twice: {", ".join(names)}.')


def _check_roi(roi: Sequence[int]) -> None:
    if len(roi) not in (0, 4) or (any(roi) and (min(roi) < 0 or min(roi[2:]) < 1)):
        raise DgssError(
            f'A region of interest is x, y, width and height in pixels, not {list(roi)}.'
        )


PARAMETERS = (
    Declaration(
        'autostart', bool, False, AT_START, 'Configure and activate without being asked to.'
    ),
    Declaration(
        'cameras',
        list[str],
        [],
        AT_START,
        'Names of the cameras; empty for one camera without a name.',
        check=_check_cameras,
    ),
    Declaration(
        'image_transport',
        str,
        'raw',
        AT_START,
        'Which messages the cameras send: sensor_msgs/Image or CompressedImage.',
        choices=('raw', 'compressed'),
    ),
    Declaration(
        'bundle_folders',
        list[str],
        [],
        AT_START,
        'Folders that `bundle` may point into; empty for the one that holds the bundle given at '
        'start. The bundle that comes with the package is always allowed.',
    ),
    Declaration(
        'save_folder', str, '~/.ros/dgss', AT_START, 'Where the service ~/save_frame writes.'
    ),
    Declaration(
        'engine.cache_dir',
        str,
        '',
        AT_START,
        'Where engines are kept; empty for the cache of the user.',
    ),
    Declaration(
        'bundle',
        str,
        '',
        ANY_TIME,
        'Folder of the bundle to run; empty for the one that comes with the package. It is loaded '
        'when the node is configured, and by the service ~/reload.',
    ),
    Declaration(
        'backend',
        str,
        'auto',
        UNCONFIGURED,
        'What runs the network; auto takes the fastest that works here.',
        check=check_backend,
    ),
    Declaration(
        'threads',
        int,
        0,
        UNCONFIGURED,
        'CPU threads of the backend; 0 for all cores.',
        bounds=(0, 256),
    ),
    Declaration(
        'workers',
        int,
        1,
        UNCONFIGURED,
        'Batches that the network works on at once; never two images of one camera.',
        bounds=(1, 16),
    ),
    Declaration(
        'batch.max_size',
        int,
        1,
        UNCONFIGURED,
        'Most frames of different cameras that the network sees at once.',
        bounds=(1, 16),
    ),
    Declaration(
        'batch.max_wait_ms',
        float,
        0.0,
        UNCONFIGURED,
        'Longest that a frame waits for those of other cameras to fill a batch.',
        bounds=(0.0, 1000.0),
    ),
    Declaration(
        'engine.allow_unverified',
        bool,
        False,
        UNCONFIGURED,
        'Run an engine also where its masks differ from those of the network it was built from.',
    ),
    Declaration(
        'self_test',
        bool,
        True,
        UNCONFIGURED,
        'Refuse a bundle whose reference frames get other masks here than where it was exported.',
    ),
    Declaration(
        'input.max_age_ms',
        float,
        0.0,
        ANY_TIME,
        'Skip images that are older than this when their turn comes; 0 for no limit.',
        bounds=(0.0, 60_000.0),
    ),
    Declaration(
        'input.max_rate',
        float,
        0.0,
        ANY_TIME,
        'Most images per second that are taken from a camera; 0 for no limit.',
        bounds=(0.0, 1000.0),
    ),
    ROTATION := Declaration(
        'input.rotation',
        int,
        0,
        ANY_TIME,
        'Degrees clockwise that turn the image upright for the network; the mask fits the image '
        'as it came.',
        choices=ROTATIONS,
    ),
    ROI := Declaration(
        'input.roi',
        list[int],
        [],
        ANY_TIME,
        'Region that the network sees: x, y, width and height in pixels of the image as it came; '
        'the mask is 255 outside. Empty or four zeros for the whole image.',
        check=_check_roi,
    ),
    Declaration(
        'output.size',
        str,
        'input',
        UNCONFIGURED,
        'Size of the masks: that of the image, or that of the network with a ~/camera_info to '
        'match.',
        choices=('input', 'network'),
    ),
    Declaration(
        'output.uncertainty',
        bool,
        False,
        UNCONFIGURED,
        'Publish ~/uncertainty where the bundle offers it.',
    ),
    Declaration(
        'confidence_threshold',
        float,
        0.0,
        ANY_TIME,
        'Pixels with less confidence lose their label (255 in the mask).',
        bounds=(0.0, 1.0),
    ),
    Declaration(
        'smoothing.weight',
        float,
        0.0,
        ANY_TIME,
        'Weight of the past in the masks over time; 0 for none.',
        bounds=(0.0, 0.95),
    ),
    Declaration(
        'smoothing.motion',
        bool,
        False,
        ANY_TIME,
        'Let the past follow the motion of the picture before it is weighed in.',
    ),
    Declaration(
        'overlay_opacity',
        float,
        0.5,
        ANY_TIME,
        'Weight of the colours over the image in the overlay.',
        bounds=(0.0, 1.0),
    ),
    Declaration(
        'domain_shift.limit',
        float,
        1.5,
        ANY_TIME,
        'Diagnostics warn when the drive lies further from the source, in standard deviations of '
        'it; 0 for never.',
        bounds=(0.0, 100.0),
    ),
    Declaration(
        'watchdog.max_processing_time_ms',
        float,
        200.0,
        ANY_TIME,
        'Diagnostics warn when a frame takes longer from arrival to mask; 0 for never.',
        bounds=(0.0, 60_000.0),
    ),
    Declaration(
        'watchdog.max_delay_ms',
        float,
        1000.0,
        ANY_TIME,
        'Diagnostics report an error when frames take too long, or fail to come, for longer.',
        bounds=(0.0, 600_000.0),
    ),
)


def camera_parameters(cameras: Sequence[str]) -> tuple[Declaration, ...]:
    """`CAMERA.rotation` and `CAMERA.roi`, which go before `input.rotation` and `input.roi`."""
    return tuple(
        replace(
            declaration,
            name=declaration.name.replace('input', camera),
            default=None,
            description=f'As {declaration.name}, for this camera alone.',
        )
        for camera in cameras
        for declaration in (ROTATION, ROI)
    )
