"""When the frames of a replay were sent and answered, and what is told of them."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np

from dgss_core.errors import plural


@dataclass(frozen=True)
class CameraTimes:
    """Times at which frames were published and masks received: monotonic seconds by stamp.

    `topic`: of the images. `fault`: what the node says of images that it could not answer.
    `resent`: stamps of frames that were sent more than once. `foreign`: masks of images that the
    replay did not send. `others`: names of nodes that published images too.
    """

    topic: str
    sent: dict[int, float]
    received: dict[int, float]
    fault: str = ''
    resent: Collection[int] = ()
    foreign: int = 0
    others: Collection[str] = ()

    @property
    def missing(self) -> int:
        """How many frames got no mask."""
        return len(self.sent.keys() - self.received.keys())

    @property
    def latencies_ms(self) -> np.ndarray:
        """In the order of the stamps, in milliseconds, without frames that were sent again."""
        timed = (self.received.keys() & self.sent.keys()) - {*self.resent}
        return np.array([1e3 * (self.received[s] - self.sent[s]) for s in sorted(timed)])

    def told(self, of: str, where: str, advice: str) -> list[str]:
        """What is told of this camera, in sentences.

        `of`: names the camera, among several. `where`: where the masks are. `advice`: what helps
        a node that is too slow.
        """
        said = [
            f'{plural(len(self.sent), "frame")}{of} sent, '
            f'{plural(len(self.received), "mask")}{where}.'
        ]
        if self.foreign:
            by = f': {also_publishes(self.others, self.topic)}' if self.others else ''
            said.append(
                f'{plural(self.foreign, "mask")} of images that the replay did not send '
                f'{"is" if self.foreign == 1 else "are"} left out{by}.'
            )
        if self.missing:
            why = f'A busy node takes only the newest image: use {advice}'
            if self.others:
                why = f'{also_publishes(self.others, self.topic)}: stop that, and repeat'
            why = self.fault or why
            said.append(
                f'{plural(self.missing, "frame")} got no mask. {why}; /diagnostics counts the '
                'dropped, skipped and rejected images.'
            )
        if self.resent:
            said.append(
                f'{plural(len(self.resent), "frame")} got no mask at first and '
                f'{"was" if len(self.resent) == 1 else "were"} sent again; the latencies are '
                'without them.'
            )
        latencies = self.latencies_ms
        if latencies.size:
            p50, p95, p99 = np.percentile(latencies, (50, 95, 99))
            said.append(f'Latency p50 {p50:.1f} ms, p95 {p95:.1f} ms, p99 {p99:.1f} ms.')
        return said


@dataclass(frozen=True)
class Replay:
    """What a replay gave. `restamped`: images that were sent with another stamp than their own.

    `is_short`: the bag held less than it promised.
    """

    cameras: tuple[CameraTimes, ...]
    restamped: int = 0
    is_short: bool = False


def also_publishes(others: Collection[str], topic: str) -> str:
    """A clause that names the other publishers of a topic."""
    names = ', '.join(sorted(others))
    return f'{names} {"publishes" if len(others) == 1 else "publish"} {topic} too'
