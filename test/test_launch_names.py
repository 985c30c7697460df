"""What the launch files import of ours is there, also where no ROS 2 can launch them."""

from __future__ import annotations

import ast
from importlib import import_module
from pathlib import Path

import pytest

FILES = sorted((Path(__file__).parents[1] / 'launch').glob('*.py'))


@pytest.mark.parametrize('path', FILES, ids=lambda path: path.name)
def test_every_name_is_there(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text())):
        if not isinstance(node, ast.ImportFrom) or not (node.module or '').startswith('dgss_'):
            continue
        try:
            module = import_module(node.module)
        except ModuleNotFoundError as error:
            if (error.name or '').startswith('dgss_'):
                raise
            continue  # A library of ROS 2.
        for name in node.names:
            if not hasattr(module, name.name):
                import_module(f'{node.module}.{name.name}')
