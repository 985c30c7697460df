"""setup.py as the tools of ROS 2 run it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_a_link_to_setup_py_finds_what_colcon_has_linked_beside_it(tmp_path: Path) -> None:
    """colcon build --symlink-install links what setup.py names, and no README."""
    for name in ('setup.py', 'setup.cfg', 'dgss_core', 'dgss_ros', 'launch', 'config', 'resource'):
        (tmp_path / name).symlink_to(ROOT / name)
    command = [sys.executable, 'setup.py', '--quiet', '--name', '--version']
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split()[-2:] == ['dgss_ros', '0.1.0']
