"""A ROS domain of one's own, for demos, benchmarks and tests."""

from __future__ import annotations

import os
import random
import socket

from dgss_core.errors import DgssError

DOMAINS = range(1, 101)
# The ports of a domain begin here (DDSI-RTPS 2.5, section 9.6.2): its first participant listens
# on offset 10, and offset 248 would be the 120th's.
FIRST_PORT, PORTS_PER_DOMAIN, PARTICIPANT, LOCK = 7400, 250, 10, 248
_locks: list[socket.socket] = []


def use_private_domain() -> None:
    """Keep this process and its children away from robots, and from others of their kind.

    A node called /dgss that is steering a vehicle must not be deactivated by a demo. Sets
    ROS_DOMAIN_ID, to a domain without participants that is held until this process ends, and
    ROS_AUTOMATIC_DISCOVERY_RANGE to this host, where the user has not set them.
    """
    os.environ.setdefault('ROS_AUTOMATIC_DISCOVERY_RANGE', 'LOCALHOST')
    if 'ROS_DOMAIN_ID' not in os.environ:
        os.environ['ROS_DOMAIN_ID'] = str(reserve_domain())


def reserve_domain() -> int:
    """A domain that no process on this host uses, held until this process ends."""
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
    """A UDP socket that has the port to itself, or None when somebody else has it."""
    found = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    try:
        found.bind(('', port))
    except OSError:
        found.close()
        return None
    return found
