"""The table of all parameters of the node."""

from __future__ import annotations

import re
from collections.abc import Sequence

from dgss_core.errors import DgssError
from dgss_core.images.view import ROTATIONS
from dgss_core.runtime.backends import check_backend
from dgss_ros.parameters.declaration import ANY_TIME, AT_START, UNCONFIGURED, Check, Declaration

MIN_RATE_HZ = 0.01
"""A smaller rate would make a camera as good as silent."""
MIN_HEARTBEAT_S, MAX_HEARTBEAT_S = 0.01, 1.0
"""A bond without a heartbeat for 4 s is broken; more than 100 a second only cost time."""

AUTO = 'auto'


def check_cameras(names: Sequence[str]) -> None:
    """Raise DgssError for names of cameras that no parameter or topic can have."""
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


def _at_least(name: str, least: float, zero: str) -> Check:
    """Return a check that a number is 0, which means `zero`, or at least `least`."""

    def check(value: float) -> None:
        if 0 < value < least:
            raise DgssError(f'{name} is at least {least:g}, or 0 for {zero}.')

    return check


PARAMETERS = (
    Declaration('autostart', bool, False, AT_START, 'Configure and activate the node at start.'),
    Declaration(
        'cameras',
        list[str],
        [],
        AT_START,
        'Names of the cameras; empty for one camera without a name.',
        check=check_cameras,
    ),
    Declaration(
        'bond_heartbeat_period',
        float,
        0.1,
        AT_START,
        'Seconds between the heartbeats of the bond that the lifecycle manager of Nav2 expects, '
        'at least 0.01; 0 for no bond. Needs bondpy; a node with autostart has no manager and '
        'makes none.',
        bounds=(0.0, MAX_HEARTBEAT_S),
        check=_at_least('bond_heartbeat_period', MIN_HEARTBEAT_S, 'no bond'),
    ),
    Declaration(
        'image_transport',
        str,
        'raw',
        AT_START,
        'Message type of the cameras: sensor_msgs/Image or CompressedImage.',
        choices=('raw', 'compressed'),
    ),
    Declaration(
        'bundle_folders',
        list[str],
        [],
        AT_START,
        'Folders that may hold `bundle`; empty for the parent folder of the bundle given at '
        'start. The embedded bundle is always allowed.',
    ),
    Declaration(
        'save_folder',
        str,
        '~/.ros/dgss',
        AT_START,
        'Output folder of the service ~/save_frame.',
    ),
    Declaration(
        'engine.cache_dir',
        str,
        '',
        AT_START,
        'Folder of the engine cache; empty for the cache of the user.',
    ),
    Declaration(
        'bundle',
        str,
        '',
        ANY_TIME,
        'Folder of the bundle to run; empty for the embedded bundle. It is loaded when the node '
        'is configured, and by the service ~/reload.',
    ),
    Declaration(
        'backend',
        str,
        'auto',
        UNCONFIGURED,
        'Backend that runs the network; auto selects the fastest one that works here.',
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
        'Number of batches in the network at once; never two images of one camera.',
        bounds=(1, 16),
    ),
    Declaration(
        'batch.max_size',
        int,
        1,
        UNCONFIGURED,
        'Maximum number of frames in a batch, each of a different camera.',
        bounds=(1, 16),
    ),
    Declaration(
        'batch.max_wait_ms',
        float,
        0.0,
        UNCONFIGURED,
        'Maximum time that a frame waits for frames of other cameras to fill a batch.',
        bounds=(0.0, 1000.0),
    ),
    Declaration(
        'engine.allow_unverified',
        bool,
        False,
        UNCONFIGURED,
        'Run an engine even if its masks differ from those of the network it was built from.',
    ),
    Declaration(
        'engine.max_silence_s',
        float,
        120.0,
        ANY_TIME,
        'Give up a load by ~/reload, or after repeated failures, that reports no progress for '
        'longer than this; 0 for never.',
        bounds=(0.0, 86_400.0),
    ),
    Declaration(
        'self_test',
        bool,
        True,
        UNCONFIGURED,
        'Refuse a bundle whose reference frames give other masks here than at export.',
    ),
    Declaration(
        'input.reliability',
        str,
        'best_effort',
        UNCONFIGURED,
        'How images are received: best_effort matches every camera; auto is reliable while every '
        'publisher of the images is, and best effort otherwise.',
        choices=('best_effort', AUTO),
    ),
    Declaration(
        'input.max_age_ms',
        float,
        0.0,
        ANY_TIME,
        'Skip an image that is older than this before it is segmented; 0 for no limit.',
        bounds=(0.0, 60_000.0),
    ),
    Declaration(
        'input.max_rate',
        float,
        0.0,
        ANY_TIME,
        'Maximum number of images per second from each camera, at least 0.01; 0 for no limit.',
        bounds=(0.0, 1000.0),
        check=_at_least('input.max_rate', MIN_RATE_HZ, 'no limit'),
    ),
    ROTATION := Declaration(
        'input.rotation',
        int,
        0,
        ANY_TIME,
        'Degrees clockwise that turn the image upright for the network; the mask keeps the '
        'orientation of the image.',
        choices=ROTATIONS,
    ),
    ROI := Declaration(
        'input.roi',
        list[int],
        [],
        ANY_TIME,
        'Region to segment: x, y, width and height in pixels of the image before rotation; the '
        'mask is 255 outside. Empty or four zeros for the whole image.',
        check=_check_roi,
    ),
    Declaration(
        'output.size',
        str,
        'input',
        UNCONFIGURED,
        'Size of the masks: the size of the image, or of the network with a matching '
        '~/camera_info.',
        choices=('input', 'network'),
    ),
    Declaration(
        'output.uncertainty',
        bool,
        False,
        UNCONFIGURED,
        'Publish ~/uncertainty if the bundle provides it.',
    ),
    Declaration(
        'confidence_threshold',
        float,
        0.0,
        ANY_TIME,
        'Pixels with a lower confidence get no label (255 in the mask).',
        bounds=(0.0, 1.0),
    ),
    Declaration(
        'smoothing.weight',
        float,
        0.0,
        ANY_TIME,
        'Weight of past masks when masks are smoothed over time; 0 for no smoothing.',
        bounds=(0.0, 0.95),
    ),
    Declaration(
        'smoothing.motion',
        bool,
        False,
        ANY_TIME,
        'Warp past masks by the optical flow before they are averaged.',
    ),
    Declaration(
        'overlay_opacity',
        float,
        0.5,
        ANY_TIME,
        'Opacity of the class colours in the overlay.',
        bounds=(0.0, 1.0),
    ),
    Declaration(
        'domain_shift.limit',
        float,
        1.5,
        ANY_TIME,
        'Diagnostics warn above this distance from the source, in standard deviations of the '
        'source; 0 for never.',
        bounds=(0.0, 100.0),
    ),
    Declaration(
        'watchdog.max_processing_time_ms',
        float,
        200.0,
        ANY_TIME,
        'Diagnostics warn if a frame takes longer from arrival to mask; 0 for never.',
        bounds=(0.0, 60_000.0),
    ),
    Declaration(
        'watchdog.max_delay_ms',
        float,
        1000.0,
        ANY_TIME,
        'Diagnostics report an error if no frame was in time for longer than this; 0 for never.',
        bounds=(0.0, 600_000.0),
    ),
)
