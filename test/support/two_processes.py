"""Runs a training in two processes with torchrun."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

WORKER = Path(__file__).with_name('worker.py')


def run_two(
    config: Path, data: Path, output: Path, strategy: str, *options: str, machines: int = 1
) -> str:
    """Run two processes on one machine, or one on each of two; return what they print."""
    with socket.create_server(('localhost', 0)) as free:
        port = free.getsockname()[1]
    command = [
        sys.executable, '-m', 'torch.distributed.run', '--nnodes', machines, '--nproc_per_node',
        2 // machines, '--rdzv_backend', 'c10d', '--rdzv_endpoint', f'localhost:{port}',
        WORKER, config, data, output, strategy, *options,
    ]  # fmt: skip
    environment = os.environ | {'OMP_NUM_THREADS': '1'}
    pipe = {'stdout': subprocess.PIPE, 'stderr': subprocess.PIPE}
    agents = [
        subprocess.Popen(list(map(str, command)), text=True, env=environment, **pipe)
        for _ in range(machines)
    ]
    results = [agent.communicate() for agent in agents]
    assert all(agent.returncode == 0 for agent in agents), results
    return ''.join(out for out, _ in results)
