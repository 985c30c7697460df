"""Plugins: encoders, datasets and backends of other installed packages, by entry points.

A package adds one with a line in its metadata:

    [project.entry-points."dgss.backends"]
    tidl = "my_package.tidl:open_backend"

A name in a recipe, a bundle or a parameter selects one of these entries; it is never imported as a
module path.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

from dgss_core.errors import DgssError

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

ENCODERS, DATASETS, BACKENDS = 'dgss.encoders', 'dgss.datasets', 'dgss.backends'


@cache
def plugins(group: str) -> dict[str, EntryPoint]:
    """The entries of a group by name, read once per process."""
    from importlib.metadata import entry_points  # takes longer than the rest of this wing

    return {entry.name: entry for entry in entry_points(group=group)}


def load_plugin(group: str, name: str) -> Any:
    """Import the object of the entry `name` in `group`.

    Raises DgssError, with the package, if its code cannot be imported, and KeyError for an unknown
    name.
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
