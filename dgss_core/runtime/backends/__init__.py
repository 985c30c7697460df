"""Backends run the network of a bundle. One interface, one file per inference library."""

from dgss_core.runtime.backends.loading import load_backend
from dgss_core.runtime.backends.names import (
    BACKENDS,
    PREFERRED,
    check_backend,
    runs_a_bundle,
)

__all__ = ['BACKENDS', 'PREFERRED', 'check_backend', 'load_backend', 'runs_a_bundle']
