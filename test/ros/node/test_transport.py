"""The transport settings of a process."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import numpy as np
import pytest

from dgss_core.bags import write_bag
from dgss_core.images.frames import Frame
from dgss_ros.node import transport

PACKAGE = Path(transport.__file__).parent


def content(name: str) -> list[tuple[str, str]]:
    tree = ElementTree.parse(PACKAGE / name)
    return [(element.tag, (element.text or '').strip()) for element in tree.iter()]


def test_the_profiles_differ_only_in_the_size_of_the_segment() -> None:
    large, small = content('fastdds.xml'), content('fastdds_small.xml')
    assert len(large) == len(small)
    differing = [(a[1], b[1]) for a, b in zip(large, small, strict=True) if a != b]
    assert differing == [(str(64 << 20), str(16 << 20))]


def test_a_small_shared_memory_gets_small_segments(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The disk of the test acts as shared memory, first too small, then large enough."""
    total = shutil.disk_usage(tmp_path).total
    for roomy, name in ((total + 1, 'fastdds_small.xml'), (total, 'fastdds.xml')):
        monkeypatch.setattr(transport, 'ROOMY', roomy)
        assert transport.fastdds_profile(tmp_path).name == name


def test_without_shared_memory_segments_are_small(tmp_path: Path) -> None:
    assert transport.fastdds_profile(tmp_path / 'none').name == 'fastdds_small.xml'


def test_the_choice_of_the_user_is_kept() -> None:
    given = {'FASTDDS_BUILTIN_TRANSPORTS': 'UDPv4', 'MALLOC_TRIM_THRESHOLD_': '1'}
    assert set(transport.environment(given)) == {'MALLOC_MMAP_THRESHOLD_'}
    chosen = transport.environment({})
    assert {chosen[name] for name in transport.PROFILE_VARIABLES} == {
        str(transport.fastdds_profile())
    }


def test_the_profile_is_printed_for_other_processes() -> None:
    command = [sys.executable, '-m', 'dgss_ros.node.transport']
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert Path(done.stdout.strip()).is_file()


@pytest.mark.parametrize('command', [['dgss_ros.segment_node'], ['dgss_core', 'bag', 'play']])
def test_a_user_without_a_home_gets_one_sentence(tmp_path: Path, command: list[str]) -> None:
    write_bag(tmp_path / 'bag', [Frame('0', np.zeros((4, 4, 3), np.uint8), 1)])
    arguments = [str(tmp_path / 'bag')] if 'bag' in command else []
    environment = {k: v for k, v in os.environ.items() if k not in ('ROS_LOG_DIR', 'ROS_HOME')}
    done = subprocess.run(
        [sys.executable, '-m', *command, *arguments],
        env=environment | {'HOME': os.devnull},
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 2
    assert 'Traceback' not in done.stderr
    assert 'set ROS_LOG_DIR to a folder that you can write to' in done.stderr


@pytest.mark.parametrize('command', [['dgss_ros.segment_node'], ['dgss_core', 'bag', 'play']])
@pytest.mark.parametrize(
    ('variables', 'remedy'),
    [
        ({'ROS_DOMAIN_ID': 'abc'}, 'set ROS_DOMAIN_ID to a number'),
        ({'ROS_STATIC_PEERS': 'no.such.host.invalid'}, 'hosts that exist in ROS_STATIC_PEERS'),
        (
            {'ROS_SECURITY_ENABLE': 'true', 'ROS_SECURITY_STRATEGY': 'Enforce'},
            'set ROS_SECURITY_KEYSTORE to a keystore',
        ),
    ],
    ids=['domain', 'peers', 'security'],
)
def test_an_environment_in_which_ros_cannot_start_gets_one_sentence(
    tmp_path: Path, command: list[str], variables: dict[str, str], remedy: str
) -> None:
    pytest.importorskip('rclpy')
    write_bag(tmp_path / 'bag', [Frame('0', np.zeros((4, 4, 3), np.uint8), 1)])
    arguments = [str(tmp_path / 'bag')] if 'bag' in command else []
    done = subprocess.run(
        [sys.executable, '-m', *command, *arguments],
        env=os.environ | variables,
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 2, done.stderr
    assert 'Traceback' not in done.stderr
    assert 'ROS 2 cannot start (' in done.stderr
    assert remedy in done.stderr
