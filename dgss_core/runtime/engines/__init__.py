"""Engines: networks compiled for one machine, kept in a cache, and verified before use."""

from __future__ import annotations

from dgss_core.errors import DgssError


class RefusedError(DgssError):
    """A backend cannot build a network here, or answers wrongly; another precision may work."""
