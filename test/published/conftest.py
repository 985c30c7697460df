"""A local HTTP server for the tests of the fetcher."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hosting import Host, hosting, without_proxy

from dgss_core.published import download


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch) -> Iterator[Host]:
    without_proxy(monkeypatch)
    monkeypatch.setattr(download, 'PAUSE_S', 0.0)
    with hosting() as running:
        yield running
