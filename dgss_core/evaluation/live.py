"""What a replay through the running node measured, as its recording tells.

The recording holds the masks, the diagnostics of the node, and a message on two topics beside the
masks: `labels`, their label set, and `replay`, when each image was sent and each mask received.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from dgss_core.bags import Bag, BagMessage
from dgss_core.bags.bag import opened
from dgss_core.bags.interfaces import STRING, sibling
from dgss_core.bags.reader import deserialized
from dgss_core.documents import fault_of, load_json
from dgss_core.errors import DgssError
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


def pack(sent: Mapping[int, float], received: Mapping[int, float]) -> str:
    """The times of a replay as text. Both are in seconds, by the stamp of the image."""
    return json.dumps({'sent': [*sent.items()], 'received': [*received.items()]})


def live_results(bag: str | Path | Bag, mask_topic: str) -> dict[str, Any] | None:
    """The measurements in the form `results.Live`; None for a recording without its times.

    Raises DgssError if these are damaged.
    """
    recording = opened(bag)
    text, origin = _last_text(recording, sibling(mask_topic, REPLAY))
    if text is None:
        return None
    sent, received = _unpack(text, origin)
    latencies = np.array([1e3 * (received[s] - sent[s]) for s in sent if s in received])
    arrived = sorted(received.values())
    span = arrived[-1] - arrived[0] if arrived else 0
    return {
        'sent': len(sent),
        'received': len(latencies),
        'drop_rate': 1 - len(latencies) / len(sent) if sent else None,
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


def _unpack(text: str, origin: str) -> tuple[dict[int, float], dict[int, float]]:
    content = load_json(text, origin, LARGEST)
    try:
        sent, received = (
            {int(stamp): float(time) for stamp, time in content[key]}
            for key in ('sent', 'received')
        )
    except (KeyError, TypeError, ValueError) as error:
        raise DgssError(
            f'{origin} holds no times of a replay ({fault_of(error)}); record the replay again.'
        ) from error
    return sent, received


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
