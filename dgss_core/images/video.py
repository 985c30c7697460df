"""Frames from a video file, with its own time stamps, turn and count, through PyAV (FFmpeg)."""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any, BinaryIO

from dgss_core.errors import DgssError, IncompleteError, read_head, what_it_is
from dgss_core.images.coded import DECODER, pyav, reason_of, to_rgb
from dgss_core.images.encodings import MAX_PIXELS
from dgss_core.images.frames import FIRST_STAMP_NS, FPS, Frame, FrameSource, OnError, period_ns
from dgss_core.images.stills import IMAGE_SUFFIXES

CONTAINERS = (
    'mov,matroska,webm,avi,mpegts,mpeg,mpegvideo,m4v,h264,hevc,ivf,obu,mjpeg,ogg,flv,live_flv,asf,'
    'dv,mxf,nut,gif,yuv4mpegpipe'
)
"""Formats of FFmpeg that hold their pictures themselves; others, as playlists, name files."""
WITH_DURATION = ('mov', 'matroska', 'flv', 'asf')
"""Containers whose header says how long they are; of others FFmpeg knows only what is there."""
OPTIONS = {'format_whitelist': CONTAINERS, 'max_pixels': str(MAX_PIXELS)}
"""FFmpeg also decodes the start of a file when it opens it."""
KINDS_OF_VIDEO = ('mp4', 'matroska', 'h264')
FASTEST = 1000
"""Frames per second; a rate from here on is a time base, not a rate."""
LAST = 1 << 63
"""After every time stamp."""


def video_source(path: Path, fps: float | None, report: OnError) -> FrameSource:
    """Frames of a video, named by their number from 000000, upright and with their time stamps.

    `fps`: even stamps at this rate instead of those of the video; None: its own, or `FPS` if it
    has none. A frame that is damaged, or predicted from a damaged one, is given to `report`, and
    at the end the frames that the header of the file promised and that did not come.

    Raises DgssError for a file that is no video or has no frame, and if PyAV is not installed.
    """
    period = period_ns(FPS if fps is None else fps)
    with _opened(path) as (container, stream):
        length = _length(container, stream)

    def frames() -> Iterator[Frame]:
        with _opened(path) as (container, stream):
            yield from _Reading(path, container, stream, report).frames(
                None if fps is None else period
            )

    return FrameSource(path, 'video', length, frames)


@contextmanager
def _opened(path: Path) -> Iterator[tuple[Any, Any]]:
    """The container and its video stream, checked before anything is decoded."""
    av = pyav(path)
    try:
        # A file object and not a name: FFmpeg takes what stands before a colon for a protocol.
        with path.open('rb') as file, _container(file) as container:
            stream = container.streams.best('video')
            if stream is None:
                raise DgssError(f'{path} holds sound but no pictures; give a video.')
            if stream.codec_context is None:
                raise DgssError(
                    f'{path} is damaged, or coded in a way that FFmpeg cannot read; convert it to '
                    'H.264.'
                )
            if not stream.codec_context.width:
                # FFmpeg takes the size back where it is above the limit.
                raise DgssError(
                    f'{path} has pictures of no size, or of more than {MAX_PIXELS} pixels; scale '
                    'the video down.'
                )
            stream.codec_context.options = DECODER
            yield container, stream
    except (OSError, av.error.FFmpegError) as error:
        raise DgssError(_why_no_video(path, error)) from error


def _container(file: BinaryIO) -> Any:
    av = pyav('The video')
    try:
        return av.open(file, options=OPTIONS)
    except UnicodeDecodeError:  # PyAV before 19 reads the texts in a file strictly.
        file.seek(0)
        return av.open(file, options=OPTIONS, metadata_errors='replace')


def _why_no_video(path: Path, error: Exception) -> str:
    head = read_head(path)
    if head.startswith(b'RIFF') or (what_it_is(head) and not what_it_is(head, *KINDS_OF_VIDEO)):
        return (
            f'{path} is a video that is damaged or cut short ({reason_of(error)}); copy or '
            'download it again.'
        )
    if meaning := what_it_is(head):
        return f'{path} is {meaning}.'
    return (
        f'{path} is neither an image ({", ".join(IMAGE_SUFFIXES)}), a bag (.mcap, .db3) nor a '
        f'video that FFmpeg can read ({reason_of(error)}).'
    )


def _length(container: Any, stream: Any) -> int | None:
    if stream.frames:
        return stream.frames
    if container.duration and stream.average_rate and stream.average_rate < FASTEST:
        return round(container.duration * stream.average_rate / 1_000_000)
    return None


@dataclass
class _Reading:
    """One pass over a video."""

    path: Path
    container: Any
    stream: Any
    report: OnError
    count: int = 0
    """Frames so far, with those that are lost."""
    sent: int = 0
    """Packets for the decoder."""
    discarded: int = 0
    """Packets that an edit list leaves out."""
    end: Fraction = Fraction(0)
    """Seconds at which the last packet of any stream ends."""
    own_end: Fraction = Fraction(0)
    """Seconds from its start at which the last packet of the video that is shown ends."""
    waiting: list[int] = field(default_factory=list)
    """Time stamps of packets whose frames have not come; a heap."""
    faults: dict[int, str] = field(default_factory=dict)
    """By time stamp, why a packet cannot be decoded."""
    is_damaged: bool = False
    """A fault was found. Without one, packets that give no frame are meant so."""
    is_broken: bool = False
    """The frames are predicted from a lost one."""

    def frames(self, period: float | None) -> Iterator[Frame]:
        """The good frames; the others are reported. `period`: in ns, of even stamps."""
        stamps = _Stamps(self.stream, period)
        for decoded in self._decoded():
            is_damaged = self._report_lost_before(decoded.pts) or decoded.is_corrupt
            index, name = self.count, f'{self.count:06d}'
            self.count += 1
            stamp_ns = stamps.next(decoded.pts, index)
            self.is_broken = is_damaged or (self.is_broken and not decoded.key_frame)
            if self.is_broken:
                self.report(
                    name,
                    DgssError(
                        f'{self.path} is damaged at this frame or one that it is predicted from; '
                        'copy or download it again.'
                    ),
                )
                continue
            try:
                image = to_rgb(decoded)
            except DgssError as error:
                self.report(name, error)
                continue
            yield Frame(name, image, FIRST_STAMP_NS + stamp_ns)
        self._report_end()

    def _decoded(self) -> Iterator[Any]:
        av = pyav(self.path)
        packets = self.container.demux()
        while True:
            try:
                packet = next(packets, None)
            except (OSError, av.error.FFmpegError) as error:
                self._note(LAST, reason_of(error))
                return
            if packet is None:
                return
            if packet.pts is not None:
                end = packet.pts + (packet.duration or 0)
                self.end = max(self.end, end * packet.time_base)
            if packet.stream is not self.stream:
                continue
            if packet.is_discard:
                self.discarded += 1
            elif packet.pts is not None:
                self.sent += 1
                heapq.heappush(self.waiting, packet.pts)
                start = (self.stream.start_time or 0) * packet.time_base
                self.own_end = max(self.own_end, end * packet.time_base - start)
            try:
                yield from packet.decode()
            except av.error.FFmpegError as error:
                self._note(packet.pts, reason_of(error))

    def _note(self, pts: int | None, reason: str) -> None:
        self.is_damaged = True
        if pts is None:
            self._lose(reason)
            return
        self.faults[pts] = reason
        if pts == LAST:
            heapq.heappush(self.waiting, pts)

    def _report_lost_before(self, pts: int | None) -> bool:
        """Whether the packet of this time stamp was damaged, and gave a picture all the same."""
        while self.waiting and pts is not None and self.waiting[0] <= pts:
            before = heapq.heappop(self.waiting)
            if before < pts and self.is_damaged:
                self._lose(self.faults.pop(before, 'no picture'))
        return pts is not None and self.faults.pop(pts, None) is not None

    def _lose(self, reason: str) -> None:
        self.report(
            f'{self.count:06d}',
            DgssError(f'{self.path} is damaged here ({reason}); copy or download it again.'),
        )
        self.count += 1
        self.is_broken = True

    def _report_end(self) -> None:
        """Compare what came with what the header promised."""
        promised = self._promised()
        lost = sorted(self.waiting) if self.is_damaged else []
        # Of a file that is cut short, the last frame is usually damaged.
        if promised > self.count + len(lost):
            self.report(
                f'{self.count:06d}',
                IncompleteError(
                    f'{self.path} ends after {self.count} of {promised} frames; it is cut short, '
                    'copy or download it again.',
                    promised - self.count,
                ),
            )
            return
        for pts in lost:
            self._lose(self.faults.get(pts, 'no picture'))
        if not self.count:
            raise DgssError(
                f'{self.path} holds no whole frame; it is empty or cut short, copy or download it '
                'again.'
            )

    def _own_length(self) -> Fraction:
        """Seconds to the start of the last frame, as the header says; a large number if unknown.

        An edit list leaves counted frames out, and AVI counts places that show a frame again.
        """
        rate = self.stream.average_rate
        if self.container.format.name == 'avi' and rate:
            return (self.stream.frames - 1) / rate
        if self.stream.duration and self.count:
            length = self.stream.duration * self.stream.time_base
            return length - length / self.count / 2
        return Fraction(LAST)

    def _promised(self) -> int:
        """The number of frames, exact or by the length of the video; 0 if nothing is promised."""
        if self.stream.frames:
            if not self.own_end or self.own_end < self._own_length():
                return self.stream.frames - self.discarded
            return self.sent if self.container.format.name != 'avi' else 0
        is_headed = self.container.format.name.startswith(WITH_DURATION)
        if not is_headed or not self.container.duration or not self.end or not self.count:
            return 0
        length = Fraction(self.container.duration, 1_000_000)
        # The last frame may have no duration, and the header may count it or not.
        is_short = length - self.end > 2 * self.end / self.count
        return round(self.count * length / self.end) if is_short else 0


class _Stamps:
    """Nanoseconds since the start of a video, always later than those of the frame before."""

    def __init__(self, stream: Any, period: float | None) -> None:
        self._period = period
        self._base = stream.time_base
        self._start = stream.start_time
        # The average of a bare stream is made up, the guess is its own if it says one.
        rate = stream.guessed_rate or stream.average_rate
        self._usual = period_ns(float(rate) if rate and rate < FASTEST else FPS)
        self._last = -1

    def next(self, pts: int | None, index: int) -> int:
        if self._period is not None:
            return round(index * self._period)
        if pts is None:
            stamp = round(index * self._usual)
        else:
            self._start = pts if self._start is None else self._start
            stamp = round((pts - self._start) * self._base * 10**9)
        self._last = max(stamp, self._last + 1)
        return self._last
