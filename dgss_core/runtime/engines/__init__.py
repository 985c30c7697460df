"""Engines: networks compiled for one machine, kept in a cache, and verified before use."""

from __future__ import annotations

from dgss_core.errors import DgssError


class RefusedError(DgssError):
    """A backend cannot build a network here, or answers wrongly; another precision may work."""


class AbsentError(DgssError):
    """What a backend needs is not here: its device, or frames to verify it with.

    That is no failure, and `auto` takes the next backend without a warning.
    """
