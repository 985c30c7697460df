"""`ros2 param dump` and `load` as a user calls them, and a node that starts from the file."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
import yaml
from camera import TIMEOUT_S

from dgss_ros.client.session import wait_until

pytestmark = [pytest.mark.ros, pytest.mark.ros_apt]
# Without the daemon, whose view of the graph may be seconds old.
OPTIONS = ('--no-daemon', '--spin-time', '5', '/dgss')


def param(verb: str, *arguments: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        ['ros2', 'param', verb, *OPTIONS, *arguments],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )


def dump(path: Path) -> dict:
    path.write_text(param('dump').stdout)
    return yaml.safe_load(path.read_text())['/dgss']['ros__parameters']


@pytest.mark.parametrize('cameras', [[], ['front', 'left', 'rear', 'right']], ids=len)
def test_a_dump_is_loaded_and_starts_the_same_node(
    start_node, probe_bundle: Path, tmp_path: Path, cameras: list[str]
) -> None:
    own = [f'{name}.{each}' for name in cameras[:1] for each in ('roi:=[1, 2, 30, 40]',)]
    options = [f'cameras:=[{", ".join(cameras)}]'] if cameras else []
    node = start_node(
        *(text for option in (*own, *options, 'input.rotation:=90') for text in ('-p', option)),
        bundle=probe_bundle,
        autostart=True,
    )
    assert wait_until(lambda: node.lifecycle.state == 'active', TIMEOUT_S)
    given = dump(tmp_path / 'dump.yaml')
    assert (given['cameras'], given['input']['rotation']) == (cameras, 90)
    loaded = param('load', str(tmp_path / 'dump.yaml'))
    refused = [line for line in loaded.stderr.splitlines() if 'failed' in line]
    assert all('read-only' in line for line in refused), refused
    assert dump(tmp_path / 'loaded.yaml') == given
    assert node.end(2) == 0
    node = start_node('--params-file', str(tmp_path / 'dump.yaml'))
    assert wait_until(lambda: node.lifecycle.state == 'active', TIMEOUT_S)
    assert dump(tmp_path / 'started.yaml') == given
    assert 'There is no parameter' not in node.log
    assert 'has no effect' not in node.log
