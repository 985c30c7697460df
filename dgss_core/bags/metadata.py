"""What metadata.yaml says of a bag. It is compared with the files, and only they are read."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from dgss_core.bags.stored import CDR, StoredTopic, full_name, is_latched
from dgss_core.documents import fault_of, read_yaml
from dgss_core.errors import DgssError, dead_link, shown
from dgss_core.images.folder import natural
from dgss_core.paths import read_bounded

METADATA = 'metadata.yaml'
KEY = 'rosbag2_bagfile_information'
LARGEST = 1 << 24
"""Bytes; it lists every file of a recording in parts."""
STORED = ('.mcap', '.db3')
PACKED = '.zstd'
PART = re.compile(r'_\d+(?=\.\w+(\.zstd)?$)|\.zstd$')
"""What differs in the names of the parts of one recording."""


@dataclass(frozen=True)
class Metadata:
    """`files`: their names, without folders. `topics`: with the messages that are counted.

    `counts`: the messages of a file, where they are counted. `total`: of the whole bag.
    """

    files: tuple[str, ...] = ()
    topics: tuple[StoredTopic, ...] = ()
    counts: dict[str, int] = field(default_factory=dict)
    total: int = 0


def is_stored(path: Path) -> bool:
    """Whether a name is that of a storage file, compressed or not."""
    return path.name.lower().removesuffix(PACKED).endswith(STORED)


def is_metadata(path: Path) -> bool:
    """Whether a file is the metadata of a bag; a data set may have one of the same name."""
    return path.is_file() and KEY.encode() in read_bounded(path, LARGEST)


def read_metadata(folder: Path) -> Metadata:
    """Read the metadata of a bag folder; nothing if it has none.

    Raises DgssError for metadata that is no bounded YAML, or not as rosbag2 writes it.
    """
    path = folder / METADATA
    if not path.is_file():
        return Metadata()
    content = read_yaml(path, LARGEST)
    if not isinstance(content, dict) or not isinstance(content.get(KEY), dict):
        raise DgssError(
            f'{path} is not the metadata of rosbag2; remove it, or write it anew with '
            'ros2 bag reindex.'
        )
    try:
        return _parsed(content[KEY])
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        raise DgssError(
            f'{path} is not as rosbag2 writes it ({fault_of(error)}); '
            'remove it, or write it anew with ros2 bag reindex.'
        ) from error


def files_of(folder: Path, metadata: Metadata) -> tuple[list[Path], list[str]]:
    """The files of a bag in their order, and what is wrong with them.

    A file that was renamed or compressed since is taken where there is only one that it can be.
    A link whose target is gone is a fault. Raises DgssError if there is no file to read.
    """
    present = {path.name: path for path in sorted(folder.iterdir(), key=natural)}
    dead = {n: dead_link(p) for n, p in present.items() if is_stored(p) or n == METADATA}
    faults = [sentence.rstrip('.') for sentence in dead.values() if sentence]
    stored = [name for name, path in present.items() if is_stored(path) and path.is_file()]
    # Who has unpacked a file may have kept the packed one.
    stored = [name for name in stored if name.removesuffix(PACKED) not in {*stored} - {name}]
    if not metadata.files:
        if faults and not stored:
            raise DgssError(f'{folder} cannot be read: {"; ".join(faults)}.')
        if len({PART.sub('', name) for name in stored}) != 1:
            what = f'several recordings ({_listed(stored)})' if stored else 'no recording'
            raise DgssError(
                f'{folder} holds {what} and no {METADATA}; give an .mcap or .db3 file, or the '
                'folder that holds the parts of one recording.'
            )
        return [present[name] for name in stored], faults
    taken, gone = dict[str, str](), set[str]()
    for name in metadata.files:
        alike = (name, name + PACKED, name.removesuffix(PACKED))
        taken[name] = next((n for n in alike if n in present and present[n].is_file()), '')
        gone |= {name} if any(map(dead.get, alike)) else set()
    spare = [name for name in stored if not {name, name + PACKED} & {*taken.values()}]
    missing = [name for name, there in taken.items() if not there and name not in gone]
    if len(missing) == len(spare) == 1:
        taken[missing.pop()] = spare.pop()
    if missing:
        faults.append(f'{_listed(missing)} of {METADATA} is missing; copy it too')
    if spare:
        faults.append(
            f'{_listed(spare)} is not named in {METADATA} and left out; '
            'name it there with ros2 bag reindex'
        )
    if not any(taken.values()):
        raise DgssError(f'{folder} cannot be read: {"; ".join(faults)}.')
    return [present[there] for there in taken.values() if there], faults


def _parsed(content: dict[str, Any]) -> Metadata:
    names = [PurePosixPath(_text(name)).name for name in content.get('relative_file_paths') or ()]
    topics = []
    for entry in content.get('topics_with_message_count') or ():
        topic = entry['topic_metadata']
        topics.append(
            StoredTopic(
                _text(topic['name']),
                full_name(_text(topic['type'])),
                _text(topic.get('serialization_format') or CDR),
                is_latched(topic.get('offered_qos_profiles')),
                _count(entry['message_count']),
            )
        )
    counts = {
        PurePosixPath(_text(file['path'])).name: _count(file['message_count'])
        for file in content.get('files') or ()
    }
    return Metadata(tuple(names), tuple(topics), counts, _count(content.get('message_count') or 0))


def _count(value: Any) -> int:
    if type(value) is not int or value < 0:
        raise ValueError(f'{shown(value)} is not a number of messages')
    return value


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f'{shown(value)} is not a text')
    return value


def _listed(names: list[str]) -> str:
    few = ', '.join(map(shown, names[:3]))
    return few if len(names) <= 3 else f'{few} and {len(names) - 3} more'
