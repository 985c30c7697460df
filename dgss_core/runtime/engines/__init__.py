"""Engines: networks compiled for one machine, kept in a cache, and proven right before use."""

from __future__ import annotations

from dgss_core.errors import DgssError


class RefusedError(DgssError):
    """A network that a backend cannot build here, or answers wrongly; another precision may do."""
