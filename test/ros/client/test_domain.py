from __future__ import annotations

import importlib.util
import os
import socket
import subprocess
import sys

import pytest

from dgss_core.errors import DgssError
from dgss_ros.client import domain

RESERVE = (
    'from dgss_ros.client.domain import reserve_domain; '
    'print(reserve_domain(), flush=True); input()'
)


def test_a_domain_is_held_by_one_process_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    free = [domain.reserve_domain() for _ in range(3)]  # other processes may hold any of them
    for lock in domain._locks[-3:]:
        lock.close()
    monkeypatch.setattr(domain, 'DOMAINS', free)
    held = {domain.reserve_domain() for _ in range(3)}
    assert held == set(free)
    with pytest.raises(DgssError, match='All ROS domains of this host are in use'):
        domain.reserve_domain()
    for lock in domain._locks[-3:]:
        lock.close()
    assert domain.reserve_domain() in held
    domain._locks.pop().close()


def test_a_domain_is_free_again_when_its_process_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    process = subprocess.Popen(
        [sys.executable, '-c', RESERVE], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    number = int(process.stdout.readline())
    monkeypatch.setattr(domain, 'DOMAINS', range(number, number + 1))
    with pytest.raises(DgssError):
        domain.reserve_domain()
    process.communicate('\n')
    assert domain.reserve_domain() == number
    domain._locks.pop().close()


@pytest.mark.skipif(importlib.util.find_spec('rclpy') is None, reason='needs rclpy')
def test_a_domain_with_a_participant_is_not_reserved(monkeypatch: pytest.MonkeyPatch) -> None:
    from dgss_ros.client.session import ros_session

    number = domain.reserve_domain()
    domain._locks.pop().close()
    monkeypatch.setattr(domain, 'DOMAINS', range(number, number + 1))
    monkeypatch.setenv('ROS_DOMAIN_ID', str(number))
    with ros_session('somebody'), pytest.raises(DgssError):
        domain.reserve_domain()
    # A listener on another port of the domain does not prevent its use.
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.bind(('', 7400 + 250 * number + 100))
        assert domain.reserve_domain() == number
    domain._locks.pop().close()


def test_what_the_user_has_set_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv('ROS_DOMAIN_ID', '42')
    monkeypatch.setenv('ROS_AUTOMATIC_DISCOVERY_RANGE', 'SUBNET')
    domain.use_private_domain()
    assert os.environ['ROS_DOMAIN_ID'] == '42'
    assert os.environ['ROS_AUTOMATIC_DISCOVERY_RANGE'] == 'SUBNET'
    monkeypatch.delenv('ROS_DOMAIN_ID')
    monkeypatch.delenv('ROS_AUTOMATIC_DISCOVERY_RANGE')
    domain.use_private_domain()
    assert 1 <= int(os.environ['ROS_DOMAIN_ID']) <= 100
    assert os.environ['ROS_AUTOMATIC_DISCOVERY_RANGE'] == 'LOCALHOST'
    domain._locks.pop().close()
