"""Decode the video messages of a topic, one coded picture each, in the order of recording."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np

from dgss_core.errors import DgssError, shown
from dgss_core.images.coded import DECODER, pyav, reason_of, to_rgb

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
        self._waiting: dict[int, Place] = {}
        # Until the first key frame nothing can be decoded.
        self._is_broken = True

    def take(self, place: Place, declared: str, data: Any) -> Iterator[Decoded]:
        """The pictures that are complete with the data of one more message.

        Raises DgssError for data that cannot be decoded and a format that is not known.
        """
        av = pyav('The video of this topic')
        if declared != self._declared:
            yield from self.rest()
            self._decoder, self._declared = self._open(av, declared), declared
        self._count += 1
        packet = av.Packet(bytes(data))
        if not packet.size:
            self._is_broken = True
            raise DgssError('The video message is empty; record it again.')
        packet.pts = self._count
        self._waiting[self._count] = place
        try:
            pictures = self._decoder.decode(packet)
        except av.error.FFmpegError as error:
            self._waiting.pop(self._count, None)
            self._is_broken = True
            raise DgssError(
                f'The {shown(declared)} message cannot be decoded ({reason_of(error)}); it is '
                'damaged, or recording began before a key frame.'
            ) from error
        yield from map(self._decoded, pictures)

    def rest(self) -> Iterator[Decoded]:
        """The pictures that are left at the end, and the messages without one."""
        if self._decoder is None:
            return
        # What does not come is told below.
        with suppress(pyav('The video of this topic').error.FFmpegError):
            yield from map(self._decoded, self._decoder.decode(None))
        for place in self._waiting.values():
            yield place, DgssError('No picture came of the video message; it is damaged.')
        self._waiting.clear()
        self._decoder, self._is_broken = None, True

    def _open(self, av: Any, declared: str) -> Any:
        codec = codec_of(declared)
        if codec is None:
            raise DgssError(
                f'The video has the format {shown(declared)}; {", ".join(CODECS)} can be decoded.'
            )
        decoder = av.CodecContext.create(codec, 'r')
        # Of libdav1d only the last option is known.
        decoder.options = DECODER if codec != 'libdav1d' else {'max_pixels': DECODER['max_pixels']}
        return decoder

    def _decoded(self, picture: Any) -> Decoded:
        place = self._waiting.pop(picture.pts)
        self._is_broken = picture.is_corrupt or (self._is_broken and not picture.key_frame)
        if self._is_broken:
            return place, DgssError(
                'The video is damaged at this message or one that it is predicted from; record it '
                'again.'
            )
        try:
            return place, to_rgb(picture)
        except DgssError as error:
            return place, error
