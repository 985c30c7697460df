"""What proves that a coded picture is damaged, where a decoder takes it without a word."""

from __future__ import annotations

import re
from collections.abc import Iterator

from dgss_core.images import gif

HOLE = re.compile(rb'\0\0\0+[^\0\1]')
"""Zeros inside a unit of H.26x or MPEG-2: only the start of the next unit may follow them."""
ZEROS = 32
"""So many zero bytes in a row are no arithmetic code. At the end of a picture they may be fill."""
RUN = re.compile(rb'\0{%d}\0*[^\0]' % ZEROS)
UNITS = ('h264', 'hevc', 'mpeg1video', 'mpeg2video')
ARITHMETIC = ('vp8', 'vp9', 'av1', 'libdav1d', 'libvpx', 'libvpx-vp9', 'libaom-av1')
HEAD = 64
"""Bytes of a unit that hold what is read of it, but for a set with large scaling lists."""
LEADING = range(6, 10)
"""Kinds of units of H.265 with a part of such a picture."""
HIGH = (100, 110, 122, 244, 44, 83, 86, 118, 128, 138, 139, 134, 135)
"""Profiles of H.264 whose sets say more of the colours."""
ZEROS_TEXT = 'zeros in the place of a part of it'


class Checker:
    """Looks at the packets of one video, in the order of decoding.

    `codec`: the name of the decoder. `extradata`: what the container keeps for the decoder.
    """

    def __init__(self, codec: str, extradata: bytes | None = None) -> None:
        self._codec = codec
        self.is_arithmetic = codec in ARITHMETIC
        self._prefix = _length_of_prefix(codec, extradata or b'')
        self._numbers = _Numbers() if codec == 'h264' else None
        if self._numbers and extradata:
            for unit in _sets(extradata) if self._prefix else _by_starts(extradata):
                self._numbers.fault(unit)

    def fault(self, data: bytes) -> str:
        """Why the picture cannot be right, or ''."""
        if len(data) >= ZEROS and not data.strip(b'\0'):
            return ZEROS_TEXT
        if self.is_arithmetic:
            return ZEROS_TEXT if bytes(ZEROS) in data and RUN.search(data) else ''
        if self._codec == 'gif' and gif.is_broken(data):
            return 'a part of it is missing'
        if self._codec not in UNITS:
            return ''
        is_prefixed = self._prefix and not data.startswith(b'\0\0\0\1')
        units = [*(_by_lengths(data, self._prefix) if is_prefixed else _by_starts(data))]
        if any(map(self._has_hole, units)) or _lacks_start(data, bool(is_prefixed)):
            return ZEROS_TEXT
        # Some cameras put several parts, with their start codes, behind one length.
        if is_prefixed and any(bytes(8) in unit.rstrip(b'\0') for unit in units):
            return ZEROS_TEXT
        numbers = self._numbers
        gaps = [numbers.fault(unit) for unit in units] if numbers else []
        return next(filter(None, gaps), '')

    def may_be_cut(self, data: bytes) -> bool:
        """Whether the picture ends with zeros, which are a hole if the file goes on with them."""
        return data.endswith(b'\0') and (self.is_arithmetic or self._codec in UNITS)

    def _has_hole(self, unit: bytes) -> bool:
        """Only in a part of a picture: not every camera escapes zeros in what it says besides."""
        if bytes(3) not in unit:
            return False
        kind, last = {'h264': (unit[0] & 31, 5), 'hevc': (unit[0] >> 1 & 63, 31)}.get(
            self._codec, (unit[0], 0xAF)
        )
        return kind <= last and HOLE.search(unit) is not None

    def leads(self, data: bytes) -> bool:
        """Whether the code of a picture of H.265 says that it is shown before its key frame."""
        if self._codec != 'hevc':
            return False
        is_prefixed = self._prefix and not data.startswith(b'\0\0\0\1')
        units = _by_lengths(data, self._prefix) if is_prefixed else _by_starts(data)
        return any(unit and unit[0] >> 1 & 63 in LEADING for unit in units)

    def is_hidden(self, data: bytes) -> bool:
        """Whether the picture is only there to predict others from."""
        return self._codec in ('vp8', 'libvpx') and bool(data) and not data[0] >> 4 & 1


def _lacks_start(data: bytes, is_prefixed: bool) -> bool:
    """Whether zeros are in the place of the first length, or of the first start code."""
    if is_prefixed:
        return data.startswith(bytes(8))
    before = data[: max(data.find(b'\0\0\1'), 0)]
    return before.startswith(bytes(3)) and bool(before.strip(b'\0'))


def _length_of_prefix(codec: str, extradata: bytes) -> int:
    """Bytes of the length before each unit, 0 for start codes."""
    place = {'h264': 4, 'hevc': 21}.get(codec)
    if place is None or len(extradata) <= place or extradata.startswith((b'\0\0\0\1', b'\0\0\1')):
        return 0
    return (extradata[place] & 3) + 1


def _by_lengths(data: bytes, prefix: int) -> Iterator[bytes]:
    at = 0
    while at + prefix <= len(data):
        length = int.from_bytes(data[at : at + prefix], 'big')
        yield data[at + prefix : at + prefix + length]
        at += prefix + length


def _by_starts(data: bytes) -> Iterator[bytes]:
    at = data.find(b'\0\0\1')
    while at >= 0:
        end = data.find(b'\0\0\1', at + 3)
        yield data[at + 3 : end if end >= 0 else len(data)]
        at = end


def _sets(extradata: bytes) -> Iterator[bytes]:
    """The sequence parameter sets in the avcC box of an MP4."""
    at = 6
    for _ in range(extradata[5] & 31 if len(extradata) > 5 else 0):
        length = int.from_bytes(extradata[at : at + 2], 'big')
        yield extradata[at + 2 : at + 2 + length]
        at += 2 + length


class _Numbers:
    """The numbers that H.264 gives to pictures from which others are predicted."""

    def __init__(self) -> None:
        self._sets: dict[int, int] = {}
        self._last: int | None = None

    def fault(self, unit: bytes) -> str:
        kind = unit[0] & 31 if unit else 0
        try:
            if kind == 7:
                number, bits = _sequence(_Bits(unit))
                self._sets[number] = bits
            elif kind in (1, 5):
                return self._slice(unit, is_first=kind == 5)
        except IndexError:
            self._last = None
        return ''

    def _slice(self, unit: bytes, is_first: bool) -> str:
        bits = {*self._sets.values()}
        if len(bits) != 1 or 0 in bits:
            return ''
        (length,) = bits
        head = _Bits(unit[:HEAD])
        head.unsigned(), head.unsigned(), head.unsigned()
        number, last = head.read(length), self._last
        if unit[0] >> 5 & 3:
            self._last = number
        if is_first or last is None or number in (last, (last + 1) % (1 << length)):
            return ''
        return 'a picture before it is missing'


def _sequence(bits: _Bits) -> tuple[int, int]:
    """The number of the set, and the bits of a picture's number; 0 if numbers may be left out."""
    profile = bits.read(8)
    bits.read(16)
    number = bits.unsigned()
    if profile in HIGH:
        chroma = bits.unsigned()
        bits.read(chroma == 3)
        bits.unsigned(), bits.unsigned(), bits.read(1)
        if bits.read(1):
            for index in range(12 if chroma == 3 else 8):
                _skip_scaling(bits, 16 if index < 6 else 64)
    length = bits.unsigned() + 4
    order = bits.unsigned()
    if order == 0:
        bits.unsigned()
    elif order == 1:
        bits.read(1), bits.unsigned(), bits.unsigned()
        for _ in range(bits.unsigned()):
            bits.unsigned()
    bits.unsigned()
    return number, 0 if bits.read(1) else length


def _skip_scaling(bits: _Bits, size: int) -> None:
    last = following = 8
    for _ in range(size if bits.read(1) else 0):
        if following:
            code = bits.unsigned()
            following = (last + (code + 1 >> 1) * (1 if code & 1 else -1)) % 256
        last = following or last


class _Bits:
    """The bits of a unit after its first byte; IndexError after the last."""

    def __init__(self, unit: bytes) -> None:
        data = unit[1:].replace(b'\0\0\3', b'\0\0')
        self._value, self._left = int.from_bytes(data, 'big'), 8 * len(data)

    def read(self, count: int) -> int:
        if count > self._left:
            raise IndexError
        self._left -= count
        return self._value >> self._left & (1 << count) - 1

    def unsigned(self) -> int:
        """A number in the code of Golomb."""
        zeros = 0
        while not self.read(1):
            zeros += 1
        return (1 << zeros) - 1 + self.read(zeros)
