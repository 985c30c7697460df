"""The report of a verification: where it lies, what it says, and when it counts.

Its checksum covers the whole report, which names the engine by its SHA-256 and the machine by the
engine's key. So a report that was cut short or edited, that belongs to another engine, another
machine or an older driver does not count, and the engine is verified again. It holds no secret:
whoever may write to the cache can also write a report, as they could the engine itself.
"""

from __future__ import annotations

import datetime
import hashlib
import json
import platform
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from dgss_core import __version__
from dgss_core.errors import DgssError
from dgss_core.files import write_whole
from dgss_core.runtime.backend import Backend
from dgss_core.runtime.bundle import MANIFEST, Bundle, ReferenceFrame, open_bundle
from dgss_core.runtime.engines import RefusedError
from dgss_core.runtime.engines.cache import EngineCache
from dgss_core.runtime.engines.verify import GATES, Gates, Outcome, compare
from dgss_core.runtime.key import processor

REPORT = 'verified.json'


def require_proof(
    backend: Backend,
    bundle: Bundle,
    read_frames: Callable[[], list[ReferenceFrame]],
    cache: EngineCache,
    report: Callable[[str], Any],
) -> None:
    """Return when `backend` is proven right on this machine; verify it when no report says so.

    `read_frames`: gives frames with the answers of the fp32 network. Raises RefusedError when
    the backend differs from them, and DgssError when there are none.
    """
    if backend.key is None:
        return
    known = read_report(report_path(backend, cache), backend, bundle)
    if known is None:
        if not (frames := read_frames()):
            raise DgssError(
                f'{backend.identity} is unverified, and {bundle.identity} has no reference frames '
                'to verify it with; run dgss engine verify with frames of your own, or allow '
                'unverified engines.'
            )
        known = verify(backend, bundle, ((frame, None) for frame in frames), cache, report)
    if known['reasons']:
        raise RefusedError(
            f'{backend.identity} is refused, because its answers for {bundle.identity} are not '
            f'those of the reference ({known["reasons"][0]}); see dgss engine verify.'
        )


def verify(
    backend: Backend,
    bundle: Bundle,
    frames: Iterable[tuple[ReferenceFrame, np.ndarray | None]],
    cache: EngineCache,
    report: Callable[[str], Any],
    origin: str = 'recorded in the bundle',
) -> dict:
    """Compare `backend` with the reference, and keep the report beside its engine.

    `frames`: with the answers of the reference, and labels where there are some; `origin` says
    where those answers come from. A report that cannot be kept is only told to `report`.
    """
    outcome = compare(backend, frames, bundle.labels, _gates(backend, bundle))
    content = _content(backend, bundle, outcome, origin)
    content['checksum'] = _checksum(content)
    if backend.key is not None:
        path = report_path(backend, cache)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            write_whole(path, f'{json.dumps(content, indent=2)}\n'.encode())
        except OSError as error:
            report(
                f'The verification cannot be kept in {path.parent} ({error.strerror or error}) '
                'and will be run again next time.'
            )
    return content


def report_path(backend: Backend, cache: EngineCache) -> Path:
    assert backend.key is not None
    return cache.folder_of(backend.key) / REPORT


def read_report(path: Path, backend: Backend, bundle: Bundle) -> dict | None:
    """The report at `path`, if it is whole and about this engine and today's gates."""
    try:
        content = json.loads(path.read_text())
        current = {
            'checksum': _checksum(content),
            'engine_sha256': backend.sha256,
            'gates': asdict(_gates(backend, bundle)),
        }
        return content if {key: content[key] for key in current} == current else None
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def higher_precisions(bundle: Bundle) -> Iterator[Bundle]:
    """The bundles in higher precision that `bundle` carries, bf16 before fp32, as they are asked
    for: opening one reads all of its weights."""
    for precision in ('bf16', 'fp32'):
        if (bundle.folder / precision / MANIFEST).is_file():
            yield open_bundle(bundle.folder / precision)


def _gates(backend: Backend, bundle: Bundle) -> Gates:
    return GATES[backend.key.precision if backend.key else bundle.manifest.precision]


def _content(backend: Backend, bundle: Bundle, outcome: Outcome, origin: str) -> dict:
    return {
        'verdict': 'passed' if outcome.passed else 'failed',
        'reasons': outcome.reasons,
        'when': datetime.datetime.now(datetime.timezone.utc).isoformat(timespec='seconds'),
        'bundle': bundle.identity,
        'backend': backend.identity,
        'engine_sha256': backend.sha256,
        'key': asdict(backend.key) if backend.key else None,
        'machine': {
            'host': platform.node(),
            'system': platform.platform(),
            'processor': asdict(processor()),
        },
        'versions': {
            'dgss_core': __version__,
            'python': platform.python_version(),
            'numpy': np.__version__,
        },
        'reference': origin,
        'gates': outcome.gates,
        'conditions': outcome.conditions,
        'total': outcome.total,
    }


def _checksum(content: dict) -> str:
    signed = {key: value for key, value in content.items() if key != 'checksum'}
    return hashlib.sha256(json.dumps(signed, sort_keys=True).encode()).hexdigest()
