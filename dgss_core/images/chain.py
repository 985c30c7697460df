"""Which pictures of a video are sound, of a stream in which they are predicted from each other."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

HELD = 40
"""At most so many pictures wait until it is known whether they are sound."""

MARGIN = 1
"""Pictures that may be shown before one beyond those before any other so far."""


@dataclass(eq=False)
class Coded:
    """A packet, its picture, and what is wrong with them."""

    pts: int | None
    label: Any = None
    """Whatever the caller gave with the packet."""
    fault: str = ''
    picture: Any = None
    is_after_hole: bool = False
    """Packets may be lost just before it."""
    holes: int = 0
    """Places before it where packets may be lost."""
    is_near: bool = False
    """Packets of pictures that are shown before it may be lost."""
    may_be_key: bool = True
    """False: it begins nothing, whatever the decoder says of it."""
    leads: bool = False
    """By its code it is shown before the key frame that came last."""
    place: int | None = None
    """Its number among the pictures as they are shown; None while its picture may come."""
    overtaken: int = 0
    """Pictures that were decoded after it and shown before it, so far."""
    is_bad: bool | None = None
    """It, or one from which it is predicted, is damaged. None: not known yet."""


@dataclass
class Chain:
    """Packets go in as they are decoded, pictures as they are shown; so do the answers come out.

    A fault spoils what is decoded after it, up to the next key frame. Of what is decoded after
    that key frame, pictures that are shown before it are spoilt too.
    """

    is_timed: bool = True
    """The stamps of packets are times, and not only their numbers."""
    is_broken: bool = False
    """What is decoded now is predicted from something damaged."""
    is_damaged: bool = False
    """A fault was found. Without one, packets that give no picture are meant so."""
    _has_silent: bool = False
    """Packets without a picture came in a part that is sound."""
    _most_overtaken: int = 0
    _first: int | None = None
    _last: int | None = None
    _cure: Coded | None = None
    """The key frame that ended the last damage."""
    _undecided: deque[Coded] = field(default_factory=deque)
    _waiting: list[Coded] = field(default_factory=list)
    _shown: deque[Coded] = field(default_factory=deque)
    _places: int = 0

    def send(self, coded: Coded) -> None:
        """A packet that goes to the decoder."""
        self.is_damaged = self.is_damaged or coded.is_after_hole or bool(coded.fault)
        if coded.pts is not None:
            self._undecided.append(coded)
            self._waiting.append(coded)
        elif coded.fault:
            self._add(coded)

    def mark_near(self) -> None:
        """Packets may be lost here, of pictures that are shown before some of those sent."""
        for coded in (*self._waiting, *self._shown):
            coded.is_near = True

    def blame(self, coded: Coded, fault: str) -> None:
        """What the decoder says of a packet."""
        if coded.pts is None and not coded.fault:
            self._add(coded)
        coded.fault = coded.fault or fault
        self.is_damaged = True

    def fail(self, coded: Coded, fault: str) -> None:
        """`blame` for a packet of which no picture will come."""
        self.blame(coded, fault)
        if coded.place is None:
            self._finish(coded)

    def came(self, picture: Any) -> None:
        """A picture that the decoder gave."""
        if self._is_late(picture.pts):
            return
        own = next((c for c in self._waiting if c.pts == picture.pts), None)
        if self.is_timed and picture.pts is not None:
            for coded in self._until(picture.pts):
                if coded is not own:
                    self._finish(coded)
        elif picture.pts is not None:
            self._overtake(picture, own)
        if own is None:
            # Two fields may come in a packet each, and packets may have no stamp.
            own = Coded(picture.pts, picture=picture)
            # Where others have one, its place in the order of decoding is not known.
            own.may_be_key = not self.is_damaged or self._last is None
            self._add(own)
        else:
            own.picture = picture
            self._finish(own)
        if picture.is_corrupt:
            own.fault = own.fault or 'a part of it cannot be decoded'
            self.is_damaged = True

    def _overtake(self, picture: Any, own: Coded | None) -> None:
        """Give up packets, whose order alone is known, where their picture is overdue.

        What is decoded before a key frame is shown before it. Otherwise no more pictures come
        before one than came before any other.
        """
        if own is not None:
            self._most_overtaken = max(self._most_overtaken, own.overtaken)
        for coded in self._until(picture.pts):
            coded.overtaken += coded is not own
        for coded in self._until(None) if self.is_damaged else ():
            is_before = coded.leads or (coded.pts or 0) < picture.pts
            is_overdue = coded.overtaken > self._most_overtaken + MARGIN
            if coded is not own and (is_overdue or (picture.key_frame and is_before)):
                self._finish(coded)

    def end(self) -> None:
        """No more pictures come."""
        # Of two fields in a packet each, the second gives no picture of its own. Without times,
        # each of these waits here.
        has_fields = not self.is_timed and len(self._waiting) > self._places // 2
        if len(self._waiting) > 1 and not self._has_silent and not has_fields:
            self.is_damaged = True
        for coded in self._until(None):
            self._finish(coded)

    def decided(self) -> Iterator[Coded]:
        """What is known by now of the pictures that were shown, and of the packets without one."""
        while self._undecided:
            coded = self._undecided[0]
            if coded.place is None and len(self._shown) > HELD:
                self._finish(coded)
            if coded.place is None and not coded.fault:
                break
            self._decide(self._undecided.popleft())
        while self._shown and self._shown[0].is_bad is not None:
            yield self._shown.popleft()

    def _is_late(self, pts: int | None) -> bool:
        """Whether a damaged stream gives a picture that was told as lost."""
        self._first = pts if self._first is None else self._first
        if pts is None:
            return False
        is_back = self._last is not None and pts <= self._last
        if is_back and self.is_damaged and self.is_timed:
            return True
        self.is_timed = self.is_timed and not is_back
        self._last = pts
        return False

    def _until(self, pts: int | None) -> list[Coded]:
        """What waits with a stamp up to this one, in the order of the stamps."""
        found = [c for c in self._waiting if pts is None or (c.pts or 0) <= pts]
        return sorted(found, key=lambda coded: coded.pts or 0)

    def _add(self, coded: Coded) -> None:
        """What the decoder was not given under its stamp."""
        self._undecided.append(coded)
        self._finish(coded)

    def _finish(self, coded: Coded) -> None:
        if coded in self._waiting:
            self._waiting.remove(coded)
        coded.place, self._places = self._places, self._places + 1
        self._shown.append(coded)

    def _decide(self, coded: Coded) -> None:
        if coded.is_after_hole:
            self.is_broken = True
        if coded.picture is None and not coded.fault:
            self._judge_silent(coded)
        is_leading = self._is_leading(coded)
        if coded.fault:
            # What is shown after the key frame is not predicted from what is shown before it.
            self.is_broken = self.is_broken or not is_leading
        elif coded.picture is not None and coded.picture.key_frame and coded.may_be_key:
            if self.is_broken:
                self._cure = coded
            self.is_broken = False
        is_shown = coded.picture is not None
        coded.is_bad = bool(coded.fault) or (is_shown and (self.is_broken or is_leading))

    def _is_leading(self, coded: Coded) -> bool:
        """Whether it is shown before the key frame that ended the last damage."""
        cure = self._cure
        if cure is None or cure.place is None:
            return False
        if coded.place is not None:
            return coded.place < cure.place
        if coded.leads:
            return True
        times = self.is_timed and None not in (coded.pts, cure.pts)
        return times and (coded.pts or 0) < (cure.pts or 0)

    def _judge_silent(self, coded: Coded) -> None:
        """Whether a packet without a picture is lost."""
        if self.is_damaged:
            if not self._has_silent:
                coded.fault = 'no picture'
        elif self._first is not None and coded.pts is not None and coded.pts > self._first:
            # Before the first picture those lack that are predicted from what is not there.
            self._has_silent = True
