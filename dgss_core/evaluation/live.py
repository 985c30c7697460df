"""What a replay through the running node measured, as its recording tells.

The recording holds the masks, the diagnostics of the node, and a message on two topics beside the
masks: `labels`, their label set, and `replay`: when each image was sent and each mask received,
and the part of the images that the masks cover.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from dgss_core.bags import Bag, BagMessage
from dgss_core.bags.bag import opened
from dgss_core.bags.interfaces import STRING, sibling
from dgss_core.bags.reader import deserialized
from dgss_core.documents import fault_of, load_json
from dgss_core.errors import DgssError
from dgss_core.evaluation.store import Region
from dgss_core.labels import LabelSet

REPLAY, LABELS, DIAGNOSTICS = 'replay', 'labels', '/diagnostics'
ARRAY = 'diagnostic_msgs/msg/DiagnosticArray'
LARGEST = 1 << 30
"""Bytes of the times of a replay."""
PERCENTILES = (50, 95, 99)
MEASURED = ('cpu_percent', 'memory_mib')
"""Values of the status `model` of the node; each is averaged."""
OLDEST_MS = 3.6e6
"""Older masks compare the time of a recording with a clock that does not follow it."""


@dataclass(frozen=True)
class Coverage:
    """The part of the images that masks cover.

    `roi`: region of interest (x, y, width, height) in pixels of the image; None for the whole
    image. `is_cut`: the masks cover the region alone, at any size; otherwise the whole image.
    `has_changed`: other masks of the same recording cover another part.
    """

    roi: Region | None = None
    is_cut: bool = False
    has_changed: bool = False


def pack(
    sent: Mapping[int, float],
    received: Mapping[int, float],
    *,
    resent: Collection[int] = (),
    coverage: Coverage | None = None,
) -> str:
    """The times of a replay as text. `sent`, `received`: in seconds, by the stamp of the image.

    `resent`: stamps of images that were sent more than once, which have no latency. `coverage`:
    of the masks; None if it is not known.
    """
    content: dict[str, Any] = {
        'sent': [*sent.items()],
        'received': [*received.items()],
        'resent': sorted(resent),
    }
    if coverage is not None:
        content['coverage'] = asdict(coverage)
    return json.dumps(content)


def live_results(bag: str | Path | Bag, mask_topic: str) -> dict[str, Any] | None:
    """The measurements in the form `results.Live`; None for a recording without its times.

    Raises DgssError if these are damaged.
    """
    recording = opened(bag)
    text, origin = _last_text(recording, sibling(mask_topic, REPLAY))
    if text is None:
        return None
    sent, received, resent = _unpack(text, origin)
    answered = [stamp for stamp in sent if stamp in received]
    timed = [stamp for stamp in answered if stamp not in resent]
    latencies = np.array([1e3 * (received[s] - sent[s]) for s in timed])
    arrived = sorted(received.values())
    span = arrived[-1] - arrived[0] if arrived else 0
    return {
        'sent': len(sent),
        'received': len(answered),
        'resent': len(resent),
        'drop_rate': 1 - len(answered) / len(sent) if sent else None,
        'rate_hz': (len(arrived) - 1) / span if span else None,
        'latency_ms': {
            f'p{p}': float(np.percentile(latencies, p)) if latencies.size else None
            for p in PERCENTILES
        },
        'latencies_ms': latencies.round(2).tolist(),
        **_of_node(recording, mask_topic),
    }


def recorded_labels(bag: str | Path | Bag, mask_topic: str) -> LabelSet | None:
    """The label set of recorded masks, which the node publishes; None if it is not recorded.

    Raises DgssError if it is damaged.
    """
    text, origin = _last_text(opened(bag), sibling(mask_topic, LABELS))
    return None if text is None else LabelSet.from_dict(load_json(text, origin, LARGEST), origin)


def _last_text(bag: Bag, topic: str) -> tuple[str | None, str]:
    """The last text on a topic, None without one; and where it is from, for a message."""
    texts = [message for message in _messages(bag, topic) if message.msgtype == STRING]
    return deserialized(texts[-1]).data if texts else None, f'{topic} of {bag.path}'


def recorded_coverage(bag: str | Path | Bag, mask_topic: str) -> Coverage:
    """What recorded masks cover: the whole image, unless the recording says otherwise.

    Raises DgssError if it is damaged, or if masks of one recording cover different parts.
    """
    text, origin = _last_text(opened(bag), sibling(mask_topic, REPLAY))
    with _read(origin):
        said = (load_json(text, origin, LARGEST) if text else {}).get('coverage') or {}
        roi = said.get('roi')
        x, y, width, height = map(int, roi or (0, 0, 1, 1))
        if min(x, y) < 0 or min(width, height) < 1:
            raise ValueError(f'{roi} is no region')
        if said.get('has_changed'):
            raise ValueError('the roi has changed meanwhile')
        return Coverage((x, y, width, height) if roi else None, bool(said.get('is_cut')))


def _unpack(text: str, origin: str) -> tuple[dict[int, float], dict[int, float], set[int]]:
    content = load_json(text, origin, LARGEST)
    with _read(origin):
        sent, received = (
            {int(stamp): float(time) for stamp, time in content[key]}
            for key in ('sent', 'received')
        )
        return sent, received, {*map(int, content.get('resent', ()))}


@contextmanager
def _read(origin: str) -> Iterator[None]:
    try:
        yield
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise DgssError(
            f'{origin} holds no replay that can be scored ({fault_of(error)}); record the replay '
            'again.'
        ) from error


def _of_node(bag: Bag, mask_topic: str) -> dict[str, Any]:
    """What the node of the masks says of itself: means of its process, and its last ages."""
    said: dict[str, dict[str, list[str]]] = {}
    for message in _messages(bag, DIAGNOSTICS):
        if message.msgtype != ARRAY:
            continue
        for status in deserialized(message).status:
            node, _, name = status.name.partition(': ')
            if name == 'model' or name.endswith('frames'):
                of_node = said.setdefault(node, {})
                for entry in status.values:
                    of_node.setdefault(f'{name} {entry.key}', []).append(entry.value)
    nodes = [node for node in said if mask_topic.startswith(f'/{node}/')]
    # Masks may be remapped out of the names of their node.
    node = max(nodes, key=len) if nodes else next(iter(said)) if len(said) == 1 else ''
    camera = ' '.join(mask_topic.removeprefix(f'/{node}/').split('/')[:-1])
    values = {key: _numbers(texts) for key, texts in said.get(node, {}).items()}
    means = {key: values.get(f'model {key}', []) for key in MEASURED}
    ages = {
        f'p{p}': values.get(f'{camera} frames age_ms_p{p}'.strip(), [])[-1:] for p in PERCENTILES
    }
    known = all(age and age[0] < OLDEST_MS for age in ages.values())
    return {
        **{key: sum(found) / len(found) if found else None for key, found in means.items()},
        **({'age_ms': {p: age[0] for p, age in ages.items()}} if known else {}),
    }


def _numbers(texts: Iterable[str]) -> list[float]:
    found = []
    for text in texts:
        with suppress(ValueError):  # Another node may say anything.
            found.append(float(text))
    return found


def _messages(bag: Bag, topic: str) -> Iterator[BagMessage]:
    # What is missing is told when the masks are read.
    return bag.messages({topic}, lambda short: None)
