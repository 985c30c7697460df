"""Runs a training in two processes: with torchrun, or with what torchrun tells each of them."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from multiprocessing.context import ForkServerProcess
from pathlib import Path

import worker
from preloaded import start


def run_two(config: Path, data: Path, output: Path, strategy: str, *options: str) -> str:
    """Run two processes on this machine; return what they print."""
    processes, logs = start_two(config, data, output, strategy, *options)
    for process in processes:
        process.join()
    printed = [log.read_text() for log in logs]
    assert [process.exitcode for process in processes] == [0, 0], printed
    return ''.join(printed)


def start_two(
    config: Path, data: Path, output: Path, strategy: str, *options: str
) -> tuple[list[ForkServerProcess], list[Path]]:
    """Start two processes on this machine; return them and the files of what they print."""
    arguments = [str(config), str(data), str(output), strategy, *options]
    port = free_port()
    logs = [config.with_name(f'{output.name}-{rank}.log') for rank in range(2)]
    for log in logs:
        log.touch()
    processes = [start(join, rank, port, arguments, output=log) for rank, log in enumerate(logs)]
    return processes, logs


def join(rank: int, port: int, arguments: list[str]) -> None:
    """Be one of two processes that torchrun starts on one machine."""
    os.environ |= {
        'TORCHELASTIC_RUN_ID': 'two', 'MASTER_ADDR': 'localhost', 'MASTER_PORT': str(port),
        'WORLD_SIZE': '2', 'LOCAL_WORLD_SIZE': '2', 'GROUP_RANK': '0',
        'RANK': str(rank), 'LOCAL_RANK': str(rank),
    }  # fmt: skip
    worker.main(arguments)


def run_two_machines(config: Path, data: Path, output: Path, strategy: str) -> str:
    """Run torchrun with one process on each of two machines; return what they print."""
    command = [
        sys.executable, '-m', 'torch.distributed.run', '--nnodes', 2, '--nproc_per_node', 1,
        '--rdzv_backend', 'c10d', '--rdzv_endpoint', f'localhost:{free_port()}',
        worker.__file__, config, data, output, strategy,
    ]  # fmt: skip
    environment = os.environ | {'OMP_NUM_THREADS': '1'}
    pipe = {'stdout': subprocess.PIPE, 'stderr': subprocess.PIPE}
    agents = [
        subprocess.Popen(list(map(str, command)), text=True, env=environment, **pipe)
        for _ in range(2)
    ]
    results = [agent.communicate() for agent in agents]
    assert all(agent.returncode == 0 for agent in agents), results
    return ''.join(out for out, _ in results)


def free_port() -> int:
    with socket.create_server(('localhost', 0)) as free:
        return free.getsockname()[1]
