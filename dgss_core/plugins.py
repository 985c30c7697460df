"""What other installed packages add to this one, through entry points.

A package adds an encoder, a dataset or a backend with one line of its own metadata:

    [project.entry-points."dgss.backends"]
    tidl = "my_package.tidl:open_backend"

Only installed packages count. A name in a recipe, a bundle or a parameter selects one of these
entries; it is never imported as a module path.
"""

from __future__ import annotations

from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from dgss_core.errors import DgssError

ENCODERS, DATASETS, BACKENDS = 'dgss.encoders', 'dgss.datasets', 'dgss.backends'


@cache
def plugins(group: str) -> dict[str, EntryPoint]:
    """The entries of a group by their name, read once per process."""
    return {entry.name: entry for entry in entry_points(group=group)}


def load_plugin(group: str, name: str) -> Any:
    """Import what the entry `name` of `group` points to.

    Raises DgssError that names the package when its code cannot be imported, and KeyError for a
    name that no package adds.
    """
    entry = plugins(group)[name]
    try:
        return entry.load()
    except (ImportError, AttributeError) as error:
        package = entry.dist.name if entry.dist else entry.value
        raise DgssError(
            f'{name!r} of the package {package} cannot be imported ({error}); '
            'fix or uninstall that package.'
        ) from error
