"""The home, the caches and the name of the user, all of which may be missing in a container."""

from __future__ import annotations

import getpass
import os
from contextlib import suppress
from pathlib import Path

from dgss_core.errors import DgssError

NOWHERE = Path(os.devnull)
"""Parent of the caches of a user without a home: nothing is found there and nothing is kept."""


def cache_folder(kind: str) -> Path:
    """`$XDG_CACHE_HOME/dgss/<kind>`, by default below ~/.cache; below `NOWHERE` without a home."""
    home = NOWHERE
    with suppress(RuntimeError):
        home = Path.home()
    return Path(os.environ.get('XDG_CACHE_HOME') or home / '.cache') / 'dgss' / kind


def expand(path: str | Path) -> Path:
    """`path` with ~ replaced. Raises DgssError if that user is unknown or has no home."""
    try:
        return Path(path).expanduser()
    except RuntimeError as error:
        raise DgssError(
            f'{path} has no meaning here ({error}); set HOME, or give an absolute path.'
        ) from error


def name_user() -> None:
    """Give the user of this process a name if it has none, as in a container run by a number.

    PyTorch asks for one when it is imported, for a folder of temporary files.
    """
    try:
        getpass.getuser()
    except (KeyError, OSError):  # The latter from Python 3.13 on.
        os.environ['LOGNAME'] = str(os.getuid())
