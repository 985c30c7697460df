"""One file by HTTP, from any cut byte on."""

from __future__ import annotations

import fcntl
import json
import os
import re
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from http.client import HTTPException
from pathlib import Path
from typing import Any, BinaryIO
from urllib.error import HTTPError
from urllib.request import Request

from dgss_core.documents import load_json
from dgss_core.errors import HEAD, DgssError, cause, what_it_is
from dgss_core.files import no_link, write_whole
from dgss_core.published.web import (
    LARGEST,
    opened,
    reason_of,
    refuse_page,
    total_bytes,
    validator,
)

Progress = Callable[[int, int | None], None]
"""Called with the bytes that are there, and those of the whole file if they are known."""

CHUNK = 1 << 18
TRIES = 5
"""Attempts in a row that bring no byte."""
PAUSE_S = 1.0
"""Before the second attempt; it doubles with each that fails."""


@dataclass(frozen=True)
class _State:
    """Beside an unfinished file: of which version of which file it is, and how long that is."""

    address: str
    validator: str
    total: int | None


class _CutError(Exception):
    """The answer ended early or is of no use; another attempt may succeed."""


def download(
    address: str,
    file: BinaryIO,
    *,
    size: int | None = None,
    progress: Progress = lambda done, total: None,
    pause_s: float | None = None,
) -> None:
    """Download `address` to a part that `held` opened, and an earlier call left unfinished.

    A part is continued only if the server confirms that the file is still the same version, and
    begun anew otherwise. `size`: of the file, if it was published. Raises DgssError if the server
    refuses, sends a page, another size or too much, after `TRIES` attempts without a byte, and if
    the disk refuses; what was received stays unless it is of no use.
    """
    failures, part = 0, Path(file.name)
    while True:
        before = _length(file)
        try:
            _attempt(address, file, part, size, progress)
            with _writing(part):
                os.fsync(file.fileno())
            return
        except (OSError, HTTPException, _CutError) as error:
            reason = reason_of(address, error)
            failures = 0 if _length(file) > before else failures + 1
            if failures >= TRIES:
                raise DgssError(
                    f'{address} could not be fetched ({reason}); run the command again to go '
                    'on where it stopped, or give a copy with --from.'
                ) from error
            time.sleep((PAUSE_S if pause_s is None else pause_s) * 2**failures)


def discard(part: Path) -> None:
    """Remove an unfinished file and what is known of it."""
    for path in (part, _state_path(part)):
        path.unlink(missing_ok=True)


@contextmanager
def held(part: Path) -> Iterator[BinaryIO]:
    """`part`, open to append; no other process holds it or fetches it until the block ends.

    Raises DgssError if another process holds it, or if it cannot be written.
    """
    file = _opened(part)
    try:
        while not _locked(file, part):
            file.close()
            file = _opened(part)
        yield file
    finally:
        file.close()


def _opened(part: Path) -> BinaryIO:
    with _writing(part):
        part.parent.mkdir(parents=True, exist_ok=True)
        return open(part, 'ab', buffering=0, opener=no_link)


def _locked(file: BinaryIO, part: Path) -> bool:
    """Lock a file; False if another process has put it in its place or discarded it before."""
    with _writing(part):
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise DgssError(f'{part} is being fetched by another process; wait for it.') from error
        with suppress(FileNotFoundError):
            return os.path.samestat(os.fstat(file.fileno()), part.stat())
        return False


def _attempt(
    address: str, file: BinaryIO, part: Path, size: int | None, progress: Progress
) -> None:
    """Fetch what is missing. Raises OSError, HTTPException or _CutError if more is needed."""
    state, have = _read_state(part), _length(file)
    if state is None or state.address != address or have > (state.total or have):
        have = _emptied(file)
    elif have == state.total:
        return
    request = Request(address)
    if have and state is not None and state.validator:
        request.add_header('Range', f'bytes={have}-')
        request.add_header('If-Range', state.validator)
    else:
        have = _emptied(file)
    with _answered(request, file) as answer:
        refuse_page(address, answer)
        if answer.status != 206:
            have = _emptied(file)
        elif not _continues(answer, have, state):
            _emptied(file)
            raise _CutError('the server sends another part than was asked for')
        known = _State(address, validator(answer), total_bytes(answer, address, have, size))
        if answer.status == 206 and state is not None:
            # A part need not repeat what the first answer said (RFC 9110, 15.3.7).
            total = known.total if known.total is not None else state.total
            known = replace(known, validator=known.validator or state.validator, total=total)
        total = known.total
        with _writing(part):
            _require_room(part, (total or 0) - have)
            write_whole(_state_path(part), json.dumps(asdict(known)).encode())
        if total is None and size is None and not answer.chunked:
            raise DgssError(f'{address} does not say how long the file is; download it by hand.')
        _receive(answer, address, file, part, total or size, progress)


def _answered(request: Request, file: BinaryIO) -> Any:
    try:
        return opened(request)
    except HTTPError as error:
        if error.code != 416:  # The range starts behind the end of what is there now.
            raise
        error.close()
        _emptied(file)
        raise _CutError('the file is shorter than it was') from error


def _continues(answer: Any, have: int, state: _State | None) -> bool:
    """Whether a part starts at the byte `have` of the version that was begun."""
    found = re.fullmatch(r'bytes (\d+)-\d+/(\d+|\*)', answer.headers.get('Content-Range', ''))
    if state is None or not found or int(found[1]) != have:
        return False
    same = validator(answer) in ('', state.validator)
    return same and (state.total is None or found[2] in ('*', str(state.total)))


def _receive(
    answer: Any, address: str, file: BinaryIO, part: Path, total: int | None, progress: Progress
) -> None:
    have, most = _length(file), LARGEST if total is None else total
    while chunk := answer.read(min(CHUNK, most - have + 1)):
        if have < HEAD:
            head = (part.read_bytes() + chunk)[:HEAD]
            if what := what_it_is(head, 'zip', 'unwritten'):
                discard(part)
                raise DgssError(f'{address} is {what}.')
        have += len(chunk)
        if have > most:
            discard(part)
            raise DgssError(
                f'{address} sends more than the {most} bytes that it should have; ask its '
                'publisher.'
            )
        _write(file, chunk, part)
        progress(have, total)
    if total is not None and have < total:
        raise _CutError(f'{have} of {total} bytes came')


def _write(file: BinaryIO, chunk: bytes, part: Path) -> None:
    with _writing(part):
        while chunk:
            chunk = chunk[file.write(chunk) :]


def _require_room(part: Path, needed: int) -> None:
    free = shutil.disk_usage(part.parent).free
    if needed > free:
        raise DgssError(
            f'{part.parent} has room for {free / 1e6:.0f} MB and {needed / 1e6:.0f} MB are '
            'needed; free some, or choose another --folder.'
        )


@contextmanager
def _writing(part: Path) -> Iterator[None]:
    """Errors of the disk in the block are no errors of the network: another attempt is in vain."""
    try:
        yield
    except OSError as error:
        raise DgssError(
            f'{part} cannot be written ({cause(error)}); choose another --folder.'
        ) from error


def _length(file: BinaryIO) -> int:
    return os.fstat(file.fileno()).st_size


def _emptied(file: BinaryIO) -> int:
    with _writing(Path(file.name)):
        file.truncate(0)
    return 0


def _state_path(part: Path) -> Path:
    return part.with_name(f'{part.name}.json')


def _read_state(part: Path) -> _State | None:
    with suppress(OSError, DgssError, TypeError):
        path = _state_path(part)
        state = _State(**load_json(path.read_bytes(), str(path)))
        if isinstance(state.validator, str) and isinstance(state.total, int | None):
            return state
    return None
