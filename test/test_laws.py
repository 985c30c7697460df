"""The laws of the house: they hold, and each kind of breach is found."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip('importlinter', reason='needs import-linter, which make test installs')

ROOT = Path(__file__).parents[1]


def lint(folder: Path) -> str:
    """What the contracts say of the checkout in `folder`; empty when all are kept."""
    code = 'import sys; from importlinter.cli import lint_imports; sys.exit(lint_imports())'
    result = subprocess.run(
        [sys.executable, '-c', code],
        cwd=folder,
        # The checkout in `folder`, not the installed one.
        env={'PYTHONPATH': str(folder), 'PATH': '', 'NO_COLOR': '1'},
        capture_output=True,
        text=True,
    )
    assert 'Contracts: ' in result.stdout, result.stdout + result.stderr
    return '' if result.returncode == 0 else result.stdout


def test_the_house_keeps_its_laws() -> None:
    assert lint(ROOT) == ''


BREACHES = {
    'a wing imports one above it': (
        'dgss_core/images/view.py',
        'from dgss_core.runtime.bundle import Bundle',
        'A wing of dgss_core imports only what stands below it',
    ),
    'a wing nobody placed': (
        'dgss_core/cellar.py',
        '',
        'A wing of dgss_core imports only what stands below it',
    ),
    'an engine that imports a backend': (
        'dgss_core/runtime/engines/verify.py',
        'from dgss_core.runtime.backends.null import NullBackend',
        'then engines, then backends',
    ),
    'a circle of two files': (
        'dgss_core/networks/resize.py',
        'from dgss_core.networks.losses import points',
        'No circle of imports',
    ),
    'torch in the vehicle, inside a function': (
        'dgss_ros/node/loading.py',
        'def late():\n    from dgss_core.networks import resize',
        'never reaches torch',
    ),
    'a node that fetches': (
        'dgss_ros/node/loading.py',
        'def late():\n    from dgss_core.published import store',
        'Nothing is fetched at launch',
    ),
    'ROS in the library': (
        'dgss_core/files/__init__.py',
        'import rclpy',
        'Only dgss_ros imports ROS',
    ),
    'health that knows the node': (
        'dgss_ros/health/watchdog.py',
        'from dgss_ros.node.cameras import Camera',
        'A wing of dgss_ros imports only what stands below it',
    ),
}


@pytest.mark.parametrize('breach', BREACHES)
def test_a_breach_is_found(breach: str, tmp_path: Path) -> None:
    file, line, contract = BREACHES[breach]
    for package in ('dgss_core', 'dgss_ros'):
        ignore = shutil.ignore_patterns('__pycache__', '*.onnx', '*.png')
        shutil.copytree(ROOT / package, tmp_path / package, ignore=ignore)
    shutil.copy(ROOT / '.importlinter', tmp_path)
    with open(tmp_path / file, 'a') as source:
        source.write(f'\n\n{line}\n')
    assert contract in lint(tmp_path).split('Broken contracts')[-1]
