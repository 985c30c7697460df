"""Where the shared data lies, and which tests can run on this machine."""

from __future__ import annotations

import importlib.util
import os
import signal
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from dgss_core.bundle import Bundle

# One thread per test process: several that spin for the same cores wait for each other.
os.environ.setdefault('OMP_NUM_THREADS', '1')

# A shell starts background jobs with SIGINT ignored, and every process under test inherits that.
signal.signal(signal.SIGINT, signal.default_int_handler)

ROOT = Path(__file__).parent.parent
SHARED = Path(os.environ.get('DGSS_SHARED', ROOT.parent / 'shared'))


@pytest.fixture(scope='session')
def shared() -> Path:
    """The folder with recorded outputs, drives and weights that are not part of this project."""
    if not SHARED.is_dir():
        pytest.skip(f'{SHARED} is absent: it holds data that may not be committed')
    return SHARED


@pytest.fixture
def probe_bundle(tmp_path: Path) -> Bundle:
    """A bundle whose network is known: mask = red // 16, confidence = green."""
    from probe import write_probe_bundle

    from dgss_core.bundle import open_bundle

    return open_bundle(write_probe_bundle(tmp_path / 'probe'))


@pytest.fixture(scope='session', autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Engines and proofs of the tests, and of what they start, stay out of the user's cache."""
    os.environ['XDG_CACHE_HOME'] = str(tmp_path_factory.mktemp('cache'))


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption('--slow', action='store_true', help='run tests that take over a minute too')


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    reasons = {
        'slow': None if config.getoption('--slow') else 'takes over a minute; run with --slow',
        'gpu': None if _has_gpu() else 'needs an NVIDIA GPU',
        'ros': _missing('rclpy', 'needs rclpy: source ROS 2, or pip install dgss_ros[ros]'),
        'ros_apt': _missing('launch_ros', 'needs a ROS 2 installation with launch_ros'),
    }
    for item in items:
        for marker, reason in reasons.items():
            if reason and item.get_closest_marker(marker):
                item.add_marker(pytest.mark.skip(reason=reason))


def _missing(module: str, reason: str) -> str | None:
    return None if importlib.util.find_spec(module) else reason


def _has_gpu() -> bool:
    return Path('/proc/driver/nvidia/version').exists() or Path('/dev/nvhost-gpu').exists()
