"""Items of work on a cluster of Ray."""

from __future__ import annotations

import os
import socket
import uuid
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from dgss_core.errors import DgssError, one_line, shown
from dgss_core.evaluation.fleet.worker import TRIES, Failed, Outcome, Start, Worker, given_up
from dgss_core.runtime.backend import Report, silent

LOCAL = 'local'
"""The address of a cluster that is started here, on this machine alone."""
STARTS = 3
"""Attempts to start one: Ray waits 30 s, and a busy machine may need longer."""
ANSWERS_S = 10.0
"""Seconds in which a cluster takes a connection."""

_workers: dict[str, Worker] = {}
"""Of this process of the cluster: the worker of the last run."""


@dataclass(frozen=True)
class Cluster:
    """`address`: `LOCAL`, 'auto' for one that runs here, HOST:PORT or ray://HOST:PORT.

    `workers`: items at the same time, 0 for as many as there is room for. `threads`, `gpus`: of
    each of them.
    """

    address: str
    workers: int = 0
    threads: int = 1
    gpus: float = 0.0


def on_ray(
    start: Start[Any, Any], items: Sequence[Any], cluster: Cluster, report: Report = silent
) -> Iterator[tuple[int, Outcome[Any]]]:
    """Yield the place of each item and its outcome, in the order in which they end.

    Ray takes up the item of a process or a machine that ended, `TRIES` times in all. `report`
    tells if there is no room yet. Raises DgssError without Ray, if there is no cluster at the
    address, and if a cluster that is started here can have no room.
    """
    with _connected(cluster) as ray:
        if lack := _lack(ray, cluster):
            if cluster.address == LOCAL:
                raise DgssError(f'{lack}; give less.')
            report(f'{lack}; waiting for one that has.')
        task = ray.remote(num_cpus=cluster.threads, num_gpus=cluster.gpus, max_retries=TRIES - 1)(
            do
        )
        run, given = uuid.uuid4().hex, ray.put(start)
        waiting = deque(range(len(items)))
        busy: dict[Any, int] = {}
        while waiting or busy:
            while waiting and len(busy) < (cluster.workers or len(items)):
                place = waiting.popleft()
                busy[task.remote(run, given, items[place])] = place
            for answer in ray.wait([*busy])[0]:
                yield busy.pop(answer), _outcome(ray, answer)


def do(run: str, start: Start[Any, Any], item: Any) -> Outcome[Any]:
    """What runs in a process of the cluster, which opens the work of a run once."""
    if run not in _workers:
        _workers.clear()
        _workers[run] = Worker(start)
    return _workers[run].do(item)


def _outcome(ray: Any, answer: Any) -> Outcome[Any]:
    try:
        return ray.get(answer)  # type: ignore[no-any-return]
    except ray.exceptions.RayTaskError as error:
        # `do` raises nothing: the process could not read what it was to do.
        return Failed(
            f'A machine of the cluster cannot run it ({one_line(error.cause)}); install the same '
            'dgss_ros on every machine.'
        )
    except ray.exceptions.RayError as error:
        return given_up(str(error).splitlines()[0] if str(error) else type(error).__name__)


@contextmanager
def _connected(cluster: Cluster) -> Iterator[Any]:
    try:
        import ray
    except ImportError as error:
        raise DgssError(
            f'--address needs Ray ({one_line(error)}); run pip install dgss_ros[fleet].'
        ) from error
    options: dict[str, Any] = {'address': cluster.address}
    if cluster.address == LOCAL:
        options |= {
            'num_cpus': cluster.workers * cluster.threads or os.cpu_count(),
            'include_dashboard': False,
        }
    _init(ray, options)
    try:
        yield ray
    finally:
        ray.shutdown()


def _init(ray: Any, options: dict[str, Any]) -> None:
    """Connect, or start a cluster. Raises DgssError."""
    address = options['address']
    for left in reversed(range(STARTS if address == LOCAL else 1)):
        try:
            _reach(address)
            ray.init(**options, log_to_driver=False, logging_level='ERROR')
            return
        except Exception as error:  # Ray raises no narrower one where it could not start in time.
            ray.shutdown()
            if left:
                continue
            if address == LOCAL:
                raise DgssError(
                    f'Ray cannot be started here ({one_line(error)}); use --workers alone, '
                    'without --address.'
                ) from error
            raise DgssError(
                f'There is no cluster of Ray at {shown(address)} ({one_line(error)}); start one '
                'with ray start --head, set RAY_AUTH_MODE=token if it asks for a token, or use '
                f'--address {LOCAL} for one on this machine.'
            ) from error


def _reach(address: str) -> None:
    """Raise OSError if nobody listens at HOST:PORT: Ray would try for five minutes."""
    host, _, port = address.rpartition('://')[2].rpartition(':')
    if host and port.isdecimal():
        socket.create_connection((host.strip('[]'), int(port)), ANSWERS_S).close()


def _lack(ray: Any, cluster: Cluster) -> str:
    """Why no machine of the cluster has room for a worker, '' if one has."""
    nodes = [node['Resources'] for node in ray.nodes() if node['Alive']]
    for name, key, asked in (('threads', 'CPU', cluster.threads), ('gpus', 'GPU', cluster.gpus)):
        most = max((node.get(key, 0) for node in nodes), default=0)
        if asked > most:
            return f'--{name} is {asked:g}, and no machine of the cluster has more than {most:g}'
    return ''
