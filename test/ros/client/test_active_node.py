"""The node as a child process of a command."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from dgss_core.errors import DgssError
from dgss_ros.client.process import active_node

pytestmark = pytest.mark.ros


def test_a_node_that_ends_at_its_start_is_told_at_once(tmp_path: Path) -> None:
    log = tmp_path / 'node.log'
    begun_s = time.monotonic()
    ended = r'The node ended with code 2; see its log .*node\.log'
    with pytest.raises(DgssError, match=ended), active_node(None, log, workers='many'):
        pass
    assert time.monotonic() - begun_s < 20
    assert 'dgss: error:' in log.read_text()
