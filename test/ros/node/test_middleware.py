"""Images larger than the default segment pass between processes of different transports.

Fast DDS is the only middleware with a wheel; docs/deploy.md says what was not run.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from camera import TIMEOUT_S, Camera, flat
from rclpy.node import Node
from rclpy.qos import ReliabilityPolicy
from rclpy.utilities import get_rmw_implementation_identifier

from dgss_ros.client.session import wait_until
from dgss_ros.node import transport
from dgss_ros.node.messages import to_mask

pytestmark = pytest.mark.ros
SMALL = str(Path(transport.__file__).with_name('fastdds_small.xml'))
SIZE = (640, 480)


@pytest.mark.skipif(
    not get_rmw_implementation_identifier().startswith('rmw_fastrtps'), reason='needs Fast DDS'
)
@pytest.mark.parametrize(
    'settings',
    [
        dict.fromkeys(transport.PROFILE_VARIABLES, str(transport.fastdds_profile())),
        dict.fromkeys(transport.PROFILE_VARIABLES, SMALL),
        {'FASTDDS_BUILTIN_TRANSPORTS': 'UDPv4'},
        {'FASTDDS_BUILTIN_TRANSPORTS': 'LARGE_DATA'},
    ],
    ids=['our profile', 'small segments', 'UDP', 'large data'],
)
def test_large_images_are_answered(
    start_node,
    ros: Node,
    probe_bundle: Path,
    monkeypatch: pytest.MonkeyPatch,
    settings: dict[str, str],
) -> None:
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    start_node('-p', 'input.reliability:=auto', bundle=probe_bundle, autostart=True)
    camera = Camera(ros)
    camera.subscribe('mask', 'confidence')
    camera.connect(flat(0, size=SIZE))

    def is_reliable() -> bool:
        taken = ros.get_subscriptions_info_by_topic('/dgss/image')
        return [each.qos_profile.reliability for each in taken] == [ReliabilityPolicy.RELIABLE]

    # An image may be lost while the node changes to the reliability of the publisher.
    assert wait_until(is_reliable, TIMEOUT_S)
    for identity in range(5):
        mask = to_mask(camera.answer(flat(16 * identity, size=SIZE))['mask'])
        assert mask.shape == SIZE[::-1]
        assert np.unique(mask).tolist() == [identity]
