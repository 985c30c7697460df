"""A bag names the types of its topics; only installed interfaces are imported for it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from canary import Canary
from rosbags.rosbag2 import Writer

from dgss_core.bags.recorder import STORAGES
from dgss_core.errors import DgssError
from dgss_ros.replay.message_types import INDEX, message_class

pytestmark = pytest.mark.ros
TEXT = b'\x00\x01\x00\x00\x02\x00\x00\x00a\x00'


def bag_with(path: Path, types: list[str], storage: str) -> Path:
    """A bag with one message of each type, named as they are."""
    with Writer(path, version=9, storage_plugin=STORAGES[storage]) as writer:
        for number, name in enumerate(types):
            topic = writer.add_connection(f'/t{number}', name, msgdef='', rihs01='RIHS01_0')
            writer.write(topic, number + 1, TEXT)
    return path


@pytest.mark.parametrize('storage', ['mcap', 'sqlite3'])
def test_a_bag_imports_only_installed_message_types(
    storage: str, tmp_path: Path, canary: Canary
) -> None:
    package = canary.mark.parent / 'canary_package'
    (package / 'msg').mkdir(parents=True)
    for folder in (package, package / 'msg'):
        (folder / '__init__.py').write_text(f'open({str(canary.mark)!r}, "w")')
    types = [
        *canary.names, 'canary_package/msg/Call', 'canary_package/Call', 'os/system',
        'os/path/join', '../../x/msg/Y', 'canary_module./msg/Call', 'rclpy/node/Node',
        'sensor_msgs/msg/Call', 'sensor_msgs/msg/__init__', '', 'a' * 100_000,
    ]  # fmt: skip
    good = ['std_msgs/String', 'std_msgs/msg/String']
    bag = bag_with(tmp_path / 'bag', [*types, *good], storage)
    done = subprocess.run(
        [sys.executable, '-m', 'dgss_core', 'bag', 'play', str(bag)],
        capture_output=True,
        text=True,
    )
    assert not canary.sang
    assert done.returncode == 0, done.stderr
    printed = ' '.join(done.stdout.split())
    assert 'Published 2 messages' in printed
    assert printed.count('Leaves out') == len(types)
    assert len(printed) < 5000


def test_what_is_recorded_of_services_and_actions_has_a_class() -> None:
    assert message_class('std_msgs/msg/String').__name__ == 'String'
    assert message_class('std_srvs/srv/Trigger_Request').__name__ == 'Trigger_Request'
    for name in ('std_msgs/msg/Strin', 'std_msgs/srv/String', 'std_msgs/msg/String_Nothing'):
        with pytest.raises(DgssError, match='is not installed'):
            message_class(name)


def test_packages_of_a_workspace_are_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    index = tmp_path / INDEX
    index.mkdir(parents=True)
    (index / 'own_msgs').write_text('msg/Own.idl\nmsg/Own.msg')
    (tmp_path / 'own_msgs' / 'msg').mkdir(parents=True)
    (tmp_path / 'own_msgs' / 'msg' / '__init__.py').write_text('class Own: pass')
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(DgssError, match='is not installed'):
        message_class('own_msgs/msg/Own')
    monkeypatch.setenv('AMENT_PREFIX_PATH', f'/nowhere:{tmp_path}')
    assert message_class('own_msgs/msg/Own').__name__ == 'Own'
