"""Checks of a bag before its reader opens it: what it may hold, and that Ctrl-C ends a query."""

from __future__ import annotations

import sqlite3
from contextlib import closing, suppress
from pathlib import Path

from dgss_core.documents import read_yaml
from dgss_core.errors import DgssError, shown

METADATA = 'metadata.yaml'
LARGEST_METADATA = 1 << 24
"""Bytes; it lists every file of a recording in parts."""
STEPS = 100_000
"""Steps of SQLite between two looks for Ctrl-C, well below a second."""


def check_bag(bag: Path) -> None:
    """Check a bag folder or storage file before it is opened.

    Raises DgssError for metadata that is no bounded YAML mapping, and for a SQLite file whose
    tables compute what they hold: a view, a virtual table or a generated column can take any time
    and any memory.
    """
    metadata = bag / METADATA
    if bag.is_dir() and not isinstance(read_yaml(metadata, LARGEST_METADATA), dict):
        raise DgssError(f'{metadata} is empty or damaged; repair the bag with ros2 bag reindex.')
    _interrupt_queries()
    for path in sorted(bag.glob('*.db3')) if bag.is_dir() else [bag]:
        if path.suffix == '.db3':
            _check_tables(path)


def _check_tables(path: Path) -> None:
    name = f'{path.absolute().as_uri()}?immutable=1'
    with suppress(sqlite3.Error), closing(sqlite3.connect(name, uri=True)) as file:
        # The definitions are text; to list them computes nothing.
        for kind, table, sql in file.execute('SELECT type, name, sql FROM sqlite_master'):
            plain = kind in ('table', 'index') and 'VIRTUAL' not in str(sql).upper().split()[:2]
            if plain and kind == 'table':
                columns = file.execute('SELECT hidden FROM pragma_table_xinfo(?)', (table,))
                plain = not any(hidden for (hidden,) in columns)
            if not plain:
                raise DgssError(
                    f'{path} holds {shown(str(table))}, which is not a plain table, and no '
                    'recorder writes that; use another copy of the bag.'
                )


def _interrupt_queries() -> None:
    """Let Python handle signals during the queries of the reader, which are one call each."""
    with suppress(ImportError):
        import apsw

        if _watch not in apsw.connection_hooks:
            apsw.connection_hooks.append(_watch)


def _watch(connection: object) -> None:
    connection.set_progress_handler(lambda: False, STEPS)  # type: ignore[attr-defined]
