"""Whether a file is the one that was published: its size, its digests, and what it really is."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from dgss_core.errors import DgssError, read_head, what_it_is
from dgss_core.published.entry import Checkpoint

CHUNK = 1 << 20


def digests_of(path: Path, *kinds: str) -> dict[str, str]:
    """Digests of a file by `sha256`, `git_blob` (as git hash-object) or `md5`, in one reading."""
    blob = hashlib.sha1(f'blob {path.stat().st_size}\0'.encode(), usedforsecurity=False)
    every: dict[str, Any] = {
        'sha256': hashlib.sha256(),
        'git_blob': blob,
        'md5': hashlib.md5(usedforsecurity=False),
    }
    wanted = {kind: every[kind] for kind in kinds}
    with path.open('rb') as file:
        while chunk := file.read(CHUNK):
            for digest in wanted.values():
                digest.update(chunk)
    return {kind: digest.hexdigest() for kind, digest in wanted.items()}


def require_published(
    path: Path, entry: Checkpoint, origin: str, advice: str = 'download it again'
) -> str:
    """The SHA-256 of the file at `path`, after it was compared with what the publisher states.

    `origin` names the file in the error, `advice` says what to do. Raises DgssError for a
    page, a pointer or an empty file, for another size and for another digest.
    """
    if what := what_it_is(read_head(path), 'zip'):
        raise DgssError(f'{origin} is {what}.')
    size = path.stat().st_size
    if entry.size is not None and size != entry.size:
        raise DgssError(f'{origin} has {size} bytes and {entry.name} has {entry.size}; {advice}.')
    found = digests_of(path, 'sha256', *entry.digests)
    for kind, published in entry.digests.items():
        if not found[kind].startswith(published):
            raise DgssError(
                f'{origin} is not {entry.name}: its {kind} is {found[kind][:12]}... and '
                f'{published[:12]}... was published; {advice}, or ask its publisher.'
            )
    return found['sha256']
