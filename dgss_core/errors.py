"""The exception for every mistake that a user can fix, and what a file from outside really is."""

from __future__ import annotations

import errno
import os
import re
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from difflib import get_close_matches
from pathlib import Path
from typing import BinaryIO

LISTED = 20
"""A message lists up to this many known names in full, and of more only the similar ones."""


SHOWN = 60
"""A message shows up to this many characters of a value from outside."""

ADDRESS = re.compile(r'([A-Za-z][A-Za-z0-9+.-]+):/+')
"""How an address begins, or the path that was made of it."""

HEAD = 512
"""Bytes that tell what a file is."""

KINDS = {
    'lfs': (rb'version https://git-lfs', 'a Git LFS pointer, not the file; run git lfs pull'),
    'annex': (rb'(\.\./)*\.?/?(\.git/)?annex/objects/', 'a git-annex pointer; run git annex get'),
    'dvc': (rb'(md5: \w{32}|outs:|deps:) *\n', 'a DVC pointer, not the file; run dvc pull'),
    'html': (
        rb'(?i)\s*<(!doctype html|html|head)',
        'an HTML page, not the file; download it again, past the login or the consent',
    ),
    'xml': (
        rb'\s*<\?xml',
        'an XML text, perhaps the error of a download; download the file again',
    ),
    'ros1': (rb'#ROSBAG V[\d.]+\n', 'a ROS 1 bag; convert it with rosbags-convert'),
    'mcap': (rb'\x89MCAP0\r\n', 'an mcap recording; name it .mcap'),
    'sqlite': (rb'SQLite format 3\0', 'an SQLite file; name it .db3 if it is a recording'),
    'zstd': (rb'\x28\xb5\x2f\xfd', 'compressed with zstd; unpack it with zstd -d'),
    'lz4': (rb'\x04\x22\x4d\x18', 'compressed with lz4; unpack it with lz4 -d'),
    'gzip': (rb'\x1f\x8b', 'compressed with gzip; unpack it with gunzip, or tar xf'),
    'xz': (rb'\xfd7zXZ\0', 'compressed with xz; unpack it with xz -d, or tar xf'),
    'bzip2': (rb'BZh\d', 'compressed with bzip2; unpack it with bunzip2, or tar xf'),
    'tar': (rb'(?s).{257}ustar', 'a tar archive; unpack it with tar xf'),
    'zip': (rb'PK(\x03\x04|\x05\x06)', 'a zip archive; unpack it with unzip'),
    '7z': (rb"7z\xbc\xaf'\x1c", 'a 7z archive; unpack it with 7z x'),
    'rar': (rb'Rar!\x1a\x07', 'a RAR archive; unpack it with unrar x'),
    'encrypted': (
        rb'Salted__|age-encryption\.org/|-----BEGIN (PGP|AGE)|LUKS\xba\xbe',
        'encrypted; decrypt it first',
    ),
    'jpeg': (rb'\xff\xd8\xff', 'a JPEG image; name it .jpg'),
    'png': (rb'\x89PNG\r\n', 'a PNG image; name it .png'),
    'mp4': (rb'(?s).{4}ftyp(?!heic|heix|mif1|avif)', 'an MP4 video; name it .mp4'),
    'matroska': (rb'\x1a\x45\xdf\xa3', 'a Matroska or WebM video; name it .mkv or .webm'),
    'h264': (
        rb'\0\0\0?\x01[\x67\x27\x09\x40\x46]',
        'a bare H.264 or H.265 stream; wrap it with ffmpeg -i FILE -c copy drive.mp4',
    ),
    'hdf5': (rb'\x89HDF\r\n', 'an HDF5 file; save it in the format that is asked for'),
    'numpy': (rb'\x93NUMPY', 'a NumPy array; save it in the format that is asked for'),
    'pdf': (rb'%PDF-', 'a PDF document; give the file itself'),
    'unwritten': (
        rb'(?s)\0{64}\0*\Z',
        'full of zero bytes, a place that was reserved and never written; copy it again',
    ),
    'empty': (rb'\Z', 'empty; copy, download or write it again'),
}
"""How the first bytes of a kind of file look, what it is called, and what to do with it."""

PLACES = {
    stat.S_IFDIR: 'a folder',
    stat.S_IFIFO: 'a pipe',
    stat.S_IFSOCK: 'a socket',
    stat.S_IFCHR: 'a device',
    stat.S_IFBLK: 'a device',
}
"""What can have a path and is no file, by the type in its mode."""
NUMBERED = re.compile(r'\[Errno -?\d+\] | \(os error \d+\)')
STAGED = re.compile(r'\.dgss-staging-[^/]*/((new|old)/)?')
"""What a message of the system holds and no user knows."""


class DgssError(Exception):
    """A mistake that the user can fix: one sentence says what is wrong and how to fix it.

    The command line prints it without a traceback and exits with code 2; the node puts it on
    `/diagnostics` or fails the lifecycle transition with it.
    """


class IncompleteError(DgssError):
    """A source that held less than it promised; raised after everything in it was read.

    `missing`: how many of its frames or messages did not come, 0 if that is not known.
    """

    def __init__(self, sentence: str, missing: int = 0) -> None:
        super().__init__(sentence)
        self.missing = missing


def unknown(
    what: str, name: str, known: Iterable[str], *, owner: str = '', also: str = ''
) -> DgssError:
    """The error for a `name` that is not in `known`, with the names to use instead.

    `what`: the kind of name ('encoder'). `owner`: the thing that lacks it, if not the package
    ('Cityscapes has no split ...'). `also`: another accepted form, added to the list.
    """
    known = list(known)
    if also and (dead := dead_link(Path(name))):
        return DgssError(dead)
    if also and ('/' in name or name.endswith(('.yaml', '.yml'))):
        if kind := place(name):
            return DgssError(f'{shown(name, 300)} is {kind}, not a {what} file; correct the path.')
        return DgssError(f'There is no {what} file {shown(name, 300)}; correct the path.')
    near = similar(name, known)
    if len(known) <= LISTED or len(near) == len(known):
        advice = f'use one of {", ".join(known)}{also}.' if known else 'leave it out.'
    else:
        advice = f'did you mean {", ".join(near)}{also}?'
    return DgssError(
        f'{f"{owner} has" if owner else "There is"} no {what} {shown(name)}; {advice}'
    )


def cause(error: BaseException) -> str:
    """What the system says of an error, without its number and without names of files."""
    if isinstance(error, DgssError):
        return str(error)
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return one_line(STAGED.sub('', NUMBERED.sub('', str(error))))


def explained(error: Exception) -> Exception:
    """The error itself, or for one of the system a DgssError with the path that the user gave."""
    if not isinstance(error, OSError):
        return error
    if error.filename is None:
        return DgssError(f'The system refuses this: {cause(error)}.')
    path = STAGED.sub('', os.fsdecode(error.filename))
    return DgssError(
        f'{path} cannot be used ({cause(error)}); check the path, the disk and the rights.'
    )


def plural(count: int, thing: str) -> str:
    """'1 message', '2 messages'."""
    return f'{count} {thing}{"s" * (count != 1)}'


def shown(value: object, longest: int = SHOWN) -> str:
    """The `repr` of a value from outside, cut to about `longest` characters, for a message."""
    if isinstance(value, str | bytes):
        return repr(value[:longest]) + '...' * (len(value) > longest)
    text = repr(value)
    return text if len(text) <= longest else f'{text[:longest]}...'


def plain(name: str) -> str:
    """A name from outside as it is, or as `shown` does if it is long or holds control characters.

    Rich takes parts of it for markup unless it is told not to.
    """
    return name if name.isprintable() and 0 < len(name) <= SHOWN else shown(name)


def one_line(text: object, longest: int = 500, *, lines: bool = False) -> str:
    """A text from outside for a message or a log: at most about `longest` characters
    of it, from its start and its end.

    It comes on one line, unless `lines` keeps the line breaks. Characters that would control a
    terminal are written as escapes.
    """
    whole = str(text)
    if not lines:
        whole = ' '.join(whole.split())
    if len(whole) > longest:
        mark = f' [{len(whole)} characters] '
        head = max(0, longest - len(mark)) * 2 // 3
        tail = max(0, longest - len(mark) - head)
        whole = whole[:head] + mark + whole[len(whole) - tail :]
    return ''.join(
        c if c.isprintable() or c == '\n' else c.encode('unicode_escape').decode() for c in whole
    )


def without_remedy(sentence: str) -> str:
    """The first part of a sentence: what is wrong, without how to fix it and the full stop."""
    whole = sentence.rstrip('.')
    return whole.rpartition('; ')[0] or whole


def what_it_is(head: bytes, *expected: str) -> str:
    """What a file with these first `HEAD` bytes is and what to do: 'empty; copy it again'.

    Returns '' if nothing is known about it, or if it is of a kind in `expected` (keys of `KINDS`).
    """
    for kind, (pattern, meaning) in KINDS.items():
        if re.match(pattern, head):
            return '' if kind in expected else meaning
    return ''


def why_not(path: Path, *expected: str) -> str:
    """`what_it_is` for a file; '' also for what is not a file or cannot be read."""
    with suppress(OSError, ValueError):
        return what_it_is(read_head(path), *expected)
    return ''


@contextmanager
def open_regular(path: Path) -> Iterator[BinaryIO]:
    """An open file. Raises OSError for anything else: a pipe or a device could block for ever."""
    handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    with open(handle, 'rb') as file:
        require_regular(handle, path)
        yield file


def read_regular(path: Path) -> bytes:
    """The content of a file. Raises OSError as `open_regular` does."""
    with open_regular(path) as file:
        return file.read()


def place(path: str | Path) -> str:
    """'a folder', 'a pipe', ... for a path that is no file; '' for a file, and for nothing."""
    with suppress(OSError, ValueError):
        return PLACES.get(stat.S_IFMT(os.stat(path).st_mode), '')
    return ''


def require_regular(handle: int, path: Path) -> None:
    """Raise OSError if an open file is a pipe, a socket, a device or a folder."""
    if kind := PLACES.get(stat.S_IFMT(os.fstat(handle).st_mode)):
        raise OSError(errno.EINVAL, f'it is {kind}, not a file', str(path))


def missing_error(path: Path, sentence: str) -> DgssError:
    """The error for a file or folder that is not there: `sentence`, or what its path says.

    Its path may lead through a link whose target is gone, or be an address.
    """
    address = ADDRESS.match(str(path))
    if address and not path.exists():
        # A Path has lost one of the two slashes.
        whole = f'{address[1]}://{str(path)[address.end() :]}'
        return DgssError(
            f'{one_line(whole)} is an address; addresses and streams are not read, download or '
            'record it and give the path of the file.'
        )
    return DgssError(dead_link(path) or sentence)


def dead_link(path: Path) -> str:
    """A sentence about the link at or above `path` whose target is gone; '' if there is none."""
    with suppress(OSError, ValueError):
        if not path.exists():
            for each in (path, *path.parents):
                if each.is_symlink() and not each.exists():
                    return _why_dead(each)
    return ''


def _why_dead(link: Path) -> str:
    try:
        link.stat()
    except OSError as error:
        if error.errno == errno.ELOOP:
            return f'{link} is a link that leads back to itself; replace it by the file.'
    return link_sentence(link, os.readlink(link))


def link_sentence(path: Path, target: str) -> str:
    """What to say of a link whose target is gone."""
    return f'{path} is a link to {shown(target)}, which does not exist; fetch or mount its target.'


def read_head(path: Path) -> bytes:
    """The first `HEAD` bytes of a file. Raises OSError, or ValueError for an impossible path."""
    with open_regular(path) as file:
        return file.read(HEAD)


def similar(name: str, known: Iterable[str]) -> list[str]:
    """The (at most three) names of `known` that are close to `name`; all of them if none is."""
    known = list(known)
    return get_close_matches(name[:SHOWN], known, n=3, cutoff=0.4) or known
