"""A private ROS domain for demos, benchmarks and tests."""

from __future__ import annotations

import os
import random
import socket

from dgss_core.errors import DgssError

DOMAINS = range(1, 101)
# First port of a domain (DDSI-RTPS 2.5, section 9.6.2). Its first participant listens on offset
# 10; offset 248 belongs to the 120th and is free for the lock.
FIRST_PORT, PORTS_PER_DOMAIN, PARTICIPANT, LOCK = 7400, 250, 10, 248
_locks: list[socket.socket] = []


def use_private_domain() -> None:
    """Isolate this process and its children from robots and from other such processes.

    A demo must not deactivate a node /dgss that runs in a vehicle. If the user has not set them,
    this sets ROS_DOMAIN_ID to a domain without participants, which is reserved until this process
    ends, and ROS_AUTOMATIC_DISCOVERY_RANGE to this host.
    """
    os.environ.setdefault('ROS_AUTOMATIC_DISCOVERY_RANGE', 'LOCALHOST')
    if 'ROS_DOMAIN_ID' not in os.environ:
        os.environ['ROS_DOMAIN_ID'] = str(reserve_domain())


def reserve_domain() -> int:
    """Return a domain that no process on this host uses, reserved until this process ends.

    Raises DgssError when all domains are in use.
    """
    for domain in random.sample(DOMAINS, len(DOMAINS)):
        base = FIRST_PORT + PORTS_PER_DOMAIN * domain
        lock = _bind(base + LOCK)
        participant = _bind(base + PARTICIPANT)
        if participant:
            participant.close()
        if lock and participant:
            _locks.append(lock)
            return domain
        if lock:
            lock.close()
    raise DgssError('All ROS domains of this host are in use; set ROS_DOMAIN_ID to one to share.')


def _bind(port: int) -> socket.socket | None:
    """Return a UDP socket bound to the port, None when another process uses the port."""
    found = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    try:
        found.bind(('', port))
    except OSError:
        found.close()
        return None
    return found
