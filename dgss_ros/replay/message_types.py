"""The classes of message types; only those that installed interface packages register."""

from __future__ import annotations

import os
import re
import site
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

from dgss_core.errors import DgssError, shown

INDEX = Path('share', 'ament_index', 'resource_index', 'rosidl_interfaces')
TYPE = re.compile(
    r'(?P<package>[A-Za-z]\w*)/(?P<kind>msg|srv|action)/(?P<name>[A-Za-z][A-Za-z0-9]*)'
    # What is recorded of services and actions has a type below theirs.
    r'(?P<part>(?:_[A-Za-z]+)*)',
    re.ASCII,
)


def message_class(name: str) -> Any:
    """The class of a message type such as sensor_msgs/msg/Image.

    A bag chooses the name, so nothing is imported unless a package in the ament index lists it.
    Raises DgssError for a type that is not installed.
    """
    found = TYPE.fullmatch(name)
    if not found:
        raise DgssError(f'its type {shown(name)} is not the name of a message type')
    package, kind, base = found['package'], found['kind'], found['name']
    if f'{kind}/{base}.{kind}' not in _registered(package):
        raise DgssError(f'its type {name} is not installed')
    try:
        return getattr(import_module(f'{package}.{kind}'), base + found['part'])
    except (ImportError, AttributeError) as error:
        raise DgssError(f'its type {name} is not installed ({error})') from error


def _registered(package: str) -> set[str]:
    """The interfaces of a package, as msg/Image.msg."""
    for prefix in _prefixes():
        entry = prefix / INDEX / package
        if entry.is_file():
            return set(entry.read_text().split())
    return set()


def _prefixes() -> Iterator[Path]:
    """Where ROS packages are installed: workspaces, and Python environments with ROS wheels."""
    listed = os.environ.get('AMENT_PREFIX_PATH', '').split(os.pathsep)
    yield from (Path(prefix) for prefix in listed if prefix)
    yield from map(Path, (sys.prefix, site.getuserbase(), sys.base_prefix))
