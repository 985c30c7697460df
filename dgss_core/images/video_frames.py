"""One pass over an open video: its frames, those that are damaged and those that are lost."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from heapq import heappop, heappush
from pathlib import Path
from typing import Any

from dgss_core.errors import DgssError, IncompleteError, plural
from dgss_core.images.bitstream import ZEROS_TEXT, Checker
from dgss_core.images.chain import Chain, Coded
from dgss_core.images.coded import ToRgb, pyav, reason_of
from dgss_core.images.frames import FIRST_STAMP_NS, Frame, OnError
from dgss_core.images.video_gaps import LAST, REORDERED, Gaps
from dgss_core.images.video_places import Places
from dgss_core.images.video_stamps import Stamps

WITH_DURATION = ('mov', 'matroska', 'flv', 'asf')
"""Containers whose header says how long they are; of others FFmpeg knows only what is there."""
BARE = ('h264', 'hevc')
"""Streams, and codecs with B-frames in an AVI, whose packets do not tell when they are shown: they
are numbered, to find the picture of each. An AVI tells when it is decoded."""


@dataclass
class Reading:
    """One pass over a video."""

    path: Path
    container: Any
    stream: Any
    report: OnError
    count: int = 0
    """Frames so far, with those that are lost."""
    sent: int = 0
    """Packets for the decoder."""
    number: int = 0
    """Of the last packet of a stream without time stamps."""
    times: list[int] = field(default_factory=list)
    """A heap of the times of those packets that have one, and whose picture was not shown."""
    discarded: int = 0
    """Packets that an edit list leaves out."""
    end: Fraction = Fraction(0)
    """Seconds at which the last packet of any stream ends."""
    own_end: Fraction = Fraction(0)
    """Seconds from its start at which the last packet of the video that is shown ends."""
    chain: Chain = field(default_factory=Chain)
    lost: list[Coded] = field(default_factory=list)
    """Packets without a picture, since the last picture."""
    is_cut: bool = False
    """A part of the last packet, or of the next, is missing."""
    holes: int = 0
    """Places so far where packets may be lost."""
    since_hole: int = REORDERED + 1
    """Packets since the last damage."""
    places: Places = field(init=False)
    gaps: Gaps = field(init=False)

    def __post_init__(self) -> None:
        self.places = Places(self.path, self.container, self.stream)
        self.gaps = Gaps(self.stream, knows_holes=self.places.knows_holes)
        name, context = self.container.format.name, self.stream.codec_context
        is_mixed = name == 'avi' and context.name in BARE and context.has_b_frames
        self.has_times = name not in BARE and not is_mixed
        self.chain.is_timed = self.has_times

    def frames(self, period: float | None) -> Iterator[Frame]:
        """The good frames; the others are reported. `period`: in ns, of even stamps."""
        stamps, to_rgb = Stamps(self.stream, period), ToRgb()
        for coded in self._coded():
            pts = self._time_of(coded)
            if coded.picture is None:
                if coded.is_bad:
                    self.lost.append(coded)
                continue
            self._report_lost()
            self._report_gap(coded)
            index, name = self.count, f'{self.count:06d}'
            self.count += 1
            stamp_ns = stamps.next(pts, index)
            try:
                if coded.is_bad:
                    raise DgssError(
                        f'{self.path} is damaged at this frame or one that it is predicted from; '
                        'copy or download it again.'
                    )
                image = to_rgb(coded.picture)
            except DgssError as error:
                self.report(name, error)
                continue
            yield Frame(name, image, FIRST_STAMP_NS + stamp_ns)
        self._report_end()

    def _coded(self) -> Iterator[Coded]:
        """The packets with the pictures that came of them, as they are shown."""
        error = pyav(self.path).error.FFmpegError
        checker = Checker(self.stream.codec_context.name, self.stream.codec_context.extradata)
        packets = self.container.demux()
        while True:
            try:
                packet = next(packets, None)
            except (OSError, error) as fault:
                self.chain.send(Coded(LAST, fault=reason_of(fault)))
                break
            if packet is None:
                break
            if packet.pts is not None:
                end = packet.pts + (packet.duration or 0)
                self.end = max(self.end, end * packet.time_base)
            if packet.stream is not self.stream:
                continue
            is_last = not packet.size and packet.pts is None  # It asks for the pictures left.
            if is_last and self._is_short():
                self.chain.mark_near()
            coded = self._sent(packet, checker)
            try:
                for picture in packet.decode():
                    self.chain.came(picture)
            except error as fault:
                if packet.size:
                    self.chain.blame(coded, reason_of(fault))
                self.chain.is_damaged = True
                self._note_hole()
            yield from self.chain.decided()
        self.chain.end()
        yield from self.chain.decided()

    def _sent(self, packet: Any, checker: Checker) -> Coded:
        if not packet.size:
            return Coded(None)
        data = bytes(packet)
        is_after_hole = self.places.is_after_hole(packet)
        fault = checker.fault(data)
        if self.places.lacks_part(packet):
            fault = fault or 'a part of it is missing'
        # FFmpeg marks a packet of MPEG-TS too early by one, if it puts it together from parts.
        if packet.is_corrupt or self.is_cut:
            fault = fault or 'a part of it is missing'
        self.is_cut = packet.is_corrupt
        if checker.may_be_cut(data) and self.places.is_zero_after(packet):
            fault = fault or ZEROS_TEXT
        if packet.is_discard:
            self.discarded += 1
        elif packet.pts is not None:
            self.sent += 1
            start = (self.stream.start_time or 0) * packet.time_base
            end = (packet.pts + (packet.duration or 0)) * packet.time_base
            self.own_end = max(self.own_end, end - start)
        if not self.has_times:
            if packet.pts is not None:
                heappush(self.times, packet.pts)
            self.number += 1
            packet.pts = self.number
        self.since_hole += 1
        if is_after_hole or fault:
            self._note_hole(is_after_hole)
        is_shown = not packet.is_discard and not checker.is_hidden(data)
        coded = Coded(
            packet.pts if is_shown else None,
            packet.duration,
            fault,
            is_after_hole=is_after_hole,
            leads=checker.leads(data),
            holes=self.holes,
            is_near=self.since_hole <= REORDERED,
            # A damaged picture of these may seem to be one.
            may_be_key=packet.is_keyframe or not checker.is_arithmetic,
        )
        self.chain.send(coded)
        return coded

    def _time_of(self, coded: Coded) -> int | None:
        """The stamp of what is shown next; those of packets without their own come in order."""
        if self.has_times:
            return coded.pts
        return heappop(self.times) if self.times else None

    def _note_hole(self, is_sure: bool = False) -> None:
        """Packets may be lost here; damage tells no more of files that lead to all of them."""
        if is_sure or not self.places.knows_holes:
            self.since_hole = 0
            self.holes += 1
            self.chain.mark_near()

    def _report_lost(self) -> None:
        for coded in self.lost:
            self._report_gap(coded)
            self.report(
                f'{self.count:06d}',
                DgssError(
                    f'{self.path} is damaged here ({coded.fault}); copy or download it again.'
                ),
            )
            self.count += 1
        self.lost.clear()

    def _report_gap(self, coded: Coded) -> None:
        missing = self.gaps.before(coded) if self.chain.is_timed else 0
        if self.stream.frames:  # The stamp itself may be damaged.
            missing = min(missing, self.stream.frames - self.discarded - self.count - 1)
        if missing > 0:
            self.report(
                f'{self.count:06d}',
                IncompleteError(
                    f'{self.path} is damaged here and lacks about '
                    f'{plural(missing, "frame")}; copy or download it again.',
                    missing,
                ),
            )
            self.count += missing

    def _report_end(self) -> None:
        """Compare what came with what the header promised."""
        promised = self._promised()
        # Of a file that is cut short, the last frame is usually damaged.
        if promised > self.count + len(self.lost):
            self.report(
                f'{self.count:06d}',
                IncompleteError(
                    f'{self.path} ends after {self.count} of {promised} frames; it is cut short, '
                    'copy or download it again.',
                    promised - self.count,
                ),
            )
            return
        self._report_lost()
        if self.count and self.places.is_cut():
            self.report(
                f'{self.count:06d}',
                IncompleteError(
                    f'{self.path} ends within a part of it, after {plural(self.count, "frame")}; '
                    'it is cut short, copy or download it again.'
                ),
            )
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

    def _is_short(self) -> bool:
        """Whether the packets that came are less than the file promised."""
        sent = self.sent if self.stream.frames else 0
        return self._promised() > sent or self.places.is_cut()

    def _promised(self) -> int:
        """The number of frames, exact or by the length of the video; 0 if nothing is promised."""
        if self.container.format.name == 'gif':  # FFmpeg has counted what is there.
            return 0
        if self.stream.frames:
            if not self.own_end or self.own_end < self._own_length():
                return self.stream.frames - self.discarded
            if self.container.format.name == 'avi':
                return self.places.counted if self.places.counted > self.sent else 0
            return self.sent
        is_headed = self.container.format.name.startswith(WITH_DURATION)
        if not is_headed or not self.container.duration or not self.end or not self.count:
            return 0
        length = Fraction(self.container.duration, 1_000_000)
        # The last frame may have no duration, and the header may count it or not.
        is_short = length - self.end > 2 * self.end / self.count
        return round(self.count * length / self.end) if is_short else 0
