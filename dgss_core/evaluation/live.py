"""What a replay through the running node measured, as its recording tells.

The recording holds the masks, the diagnostics of the node, and a message on two topics beside the
masks: `labels`, their label set, and `replay`, when each image was sent and each mask received.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
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
        **_of_node(recording),
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


def _of_node(bag: Bag) -> dict[str, float | None]:
    """Means of what the node says of its process."""
    found: dict[str, list[float]] = {key: [] for key in MEASURED}
    for message in _messages(bag, DIAGNOSTICS):
        if message.msgtype != ARRAY:
            continue
        for status in deserialized(message).status:
            values = {entry.key: entry.value for entry in status.values}
            for key in MEASURED:
                if status.name.endswith(': model') and key in values:
                    with suppress(ValueError):  # Another node may say anything.
                        found[key].append(float(values[key]))
    return {key: sum(v) / len(v) if v else None for key, v in found.items()}


def _messages(bag: Bag, topic: str) -> Iterator[BagMessage]:
    # What is missing is told when the masks are read.
    return bag.messages({topic}, lambda short: None)
