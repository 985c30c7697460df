"""What a parameter file holds for a node: rcl ignores one that holds nothing without a word."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

from dgss_core.documents import read_yaml
from dgss_core.errors import DgssError, one_line

WILDCARDS = {'/**': r'(/\w+)*', '/*': r'(/\w+)'}
PARAMETERS_KEY = 'ros__parameters'


def unused_files(node: str, arguments: Sequence[str]) -> Iterator[str]:
    """Yield a sentence for each file of `--params-file` without parameters for `node`.

    `node`: its full name, such as /front/dgss. `arguments`: of the command line.
    """
    for flag, file in pairwise(arguments):
        if flag != '--params-file':
            continue
        try:
            names = [name for name, _ in _nodes(read_yaml(Path(file)))]
        except DgssError:
            continue  # rcl refuses such a file with a sentence of its own
        if not any(_matches(name, node) for name in names):
            yield (
                f'{file} holds nothing for {node} (it is for '
                f'{one_line(", ".join(names)) or "no node"}); '
                f'name {node} or /** in it.'
            )


def value_in(file: Path, node: str, name: str) -> Any:
    """Return the value of a parameter without dots that a file has for `node`; None for none.

    Raises DgssError for a file that cannot be read.
    """
    value = None
    for pattern, parameters in _nodes(read_yaml(file)):
        if _matches(pattern, node) and isinstance(parameters, dict):
            value = parameters.get(name, value)
    return value


def _nodes(tree: Any, prefix: str = '') -> Iterator[tuple[str, Any]]:
    """Yield the full names, with wildcards, of the nodes in a file, and their parameters."""
    if not isinstance(tree, dict):
        return
    for key, value in tree.items():
        if key == PARAMETERS_KEY:
            yield prefix or '/', value
        else:
            yield from _nodes(value, f'{prefix}/{str(key).strip("/")}')


def _matches(pattern: str, node: str) -> bool:
    """Return whether rcl gives parameters of `pattern` to `node`."""
    parts = re.split(r'(/\*\*|/\*)', pattern)
    return bool(
        re.fullmatch(''.join(WILDCARDS.get(part, re.escape(part)) for part in parts), node)
    )
