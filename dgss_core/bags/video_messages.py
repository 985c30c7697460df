"""Decode the video messages of a topic, one coded picture each, in the order of recording."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np

from dgss_core.errors import DgssError, shown
from dgss_core.images.bitstream import Checker
from dgss_core.images.chain import Chain, Coded
from dgss_core.images.coded import DECODER, ToRgb, pyav, reason_of

CODECS = {
    'h264': 'h264',
    'x264': 'h264',
    'h265': 'hevc',
    'x265': 'hevc',
    'hevc': 'hevc',
    'vp8': 'vp8',
    'vp9': 'vp9',
    'av1': 'libdav1d',
}
"""The decoder of FFmpeg by a part of the name of a format; h264_nvenc is h264."""


def codec_of(declared: str) -> str | None:
    """The decoder for the `format` or `encoding` of a message, as 'hevc;yuv420p;bgr8'; or None."""
    name = declared.partition(';')[0].strip().lower()
    return next((codec for part, codec in CODECS.items() if part in name), None)


@dataclass(frozen=True)
class Place:
    """A message: the name of its frame, its time of recording and its stamp, in nanoseconds.

    `jpeg`: as in `Frame`.
    """

    name: str
    recorded_ns: int
    stamp_ns: int
    jpeg: bytes | None = None


Decoded = tuple[Place, np.ndarray | DgssError]
"""RGB uint8 (H, W, 3), or why there is no picture."""


class VideoMessages:
    """The decoder of one topic. Pictures may come some messages later than their own."""

    def __init__(self) -> None:
        self._declared: str | None = None
        self._decoder: Any = None
        self._count = 0
        self._is_after_hole = False
        self._checker = Checker('')
        self._chain = Chain()
        self._to_rgb: ToRgb

    def take(self, place: Place, declared: str, data: Any) -> Iterator[Decoded]:
        """The pictures that are complete with the data of one more message.

        Raises DgssError for a message without data and a format that is not known.
        """
        av = pyav('The video of this topic')
        if declared != self._declared:
            yield from self.rest()
            self._decoder, self._declared = self._open(av, declared), declared
        self._count += 1
        packet = av.Packet(bytes(data))
        if not packet.size:
            self._chain.is_broken = self._chain.is_damaged = True
            raise DgssError('The video message is empty; record it again.')
        packet.pts = self._count
        fault = self._checker.fault(bytes(data))
        coded = Coded(
            self._count,
            place,
            fault and f'The video is damaged here ({fault}); record it again.',
            is_after_hole=self._is_after_hole,
            leads=self._checker.leads(bytes(data)),
        )
        self._is_after_hole = False
        self._chain.send(coded)
        try:
            for picture in self._decoder.decode(packet):
                self._chain.came(picture)
        except av.error.FFmpegError as error:
            self._chain.fail(
                coded,
                f'The {shown(declared)} message cannot be decoded ({reason_of(error)}); it is '
                'damaged, or recording began before a key frame.',
            )
        yield from self._decided()

    def lose(self) -> None:
        """Messages are lost here: what follows is predicted from them, up to a key frame."""
        self._is_after_hole = True

    def rest(self) -> Iterator[Decoded]:
        """The pictures that are left at the end, and the messages without one."""
        if self._decoder is None:
            return
        # What does not come is told below.
        with suppress(pyav('The video of this topic').error.FFmpegError):
            for picture in self._decoder.decode(None):
                self._chain.came(picture)
        self._chain.end()
        yield from self._decided()
        self._decoder = None

    def _open(self, av: Any, declared: str) -> Any:
        codec = codec_of(declared)
        if codec is None:
            raise DgssError(
                f'The video has the format {shown(declared)}; {", ".join(CODECS)} can be decoded.'
            )
        decoder = av.CodecContext.create(codec, 'r')
        # Of libdav1d only the last option is known.
        decoder.options = DECODER if codec != 'libdav1d' else {'max_pixels': DECODER['max_pixels']}
        self._checker, self._to_rgb = Checker(codec), ToRgb()
        # Until the first key frame nothing can be decoded.
        self._chain = Chain(is_timed=False, is_broken=True)
        return decoder

    def _decided(self) -> Iterator[Decoded]:
        for coded in self._chain.decided():
            if coded.label is not None:
                yield coded.label, self._result(coded)

    def _result(self, coded: Coded) -> np.ndarray | DgssError:
        if coded.picture is None:
            return DgssError(coded.fault or 'No picture came of the video message; it is damaged.')
        if coded.is_bad:
            return DgssError(
                'The video is damaged at this message or one that it is predicted from; record it '
                'again.'
            )
        try:
            return self._to_rgb(coded.picture)
        except DgssError as error:
            return error
