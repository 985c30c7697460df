"""The report of a verification: its content, its file, and when it counts.

The checksum covers the whole report, which contains the SHA-256 of the engine and the engine's key
with the machine. A report that is truncated or edited, or that belongs to another engine, machine
or driver, does not count, and the engine is verified again. So is a network whose bundle holds
other reference frames than those of the report. The checksum is no signature: anyone who can write
to the cache can write a report, as well as an engine.
"""

from __future__ import annotations

import datetime
import hashlib
import json
import os
import platform
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from dgss_core import __version__
from dgss_core.documents import fault_of, load_json
from dgss_core.errors import DgssError
from dgss_core.files import write_whole
from dgss_core.labels import LabelSet
from dgss_core.runtime.backend import Backend, Report
from dgss_core.runtime.bundle import FRAMES, Bundle, ReferenceFrame, open_higher
from dgss_core.runtime.bundle.contents import read_whole
from dgss_core.runtime.engines import AbsentError, RefusedError
from dgss_core.runtime.engines.cache import LARGEST_DOCUMENT, REPORT, EngineCache
from dgss_core.runtime.engines.verify import GATES, Figures, Gates, Outcome, compare
from dgss_core.runtime.key import EngineKey, processor

_KINDS: dict[str, type | tuple[type, ...]] = {
    **dict.fromkeys(('when', 'bundle', 'backend', 'engine_sha256', 'reference', 'frames'), str),
    **dict.fromkeys(('machine', 'versions', 'gates', 'conditions', 'total'), dict),
    'reasons': list,
    'key': (dict, type(None)),
}
"""The types of the values in a report."""


@dataclass(frozen=True)
class Verification:
    """The report of one verification.

    `reasons`: a sentence per gate that is not met; empty if the backend passed. `when`: UTC, ISO
    8601. `reference`: where the answers of the reference come from. `frames`: digest of the
    reference frames of the bundle, empty for frames of the user. `conditions`: figures by
    condition; `total`: over all frames. `key`: of the engine; None for a reference.
    """

    reasons: list[str]
    when: str
    bundle: str
    backend: str
    engine_sha256: str
    key: EngineKey | None
    machine: dict[str, Any]
    versions: dict[str, str]
    reference: str
    frames: str
    gates: Gates
    conditions: dict[str, Figures]
    total: Figures

    @property
    def verdict(self) -> str:
        return 'failed' if self.reasons else 'passed'

    def to_dict(self) -> dict[str, Any]:
        """The form in `verified.json`, with the verdict and a checksum over everything else."""
        content = {'verdict': self.verdict, **asdict(self)}
        return {**content, 'checksum': _checksum(content)}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Verification:
        """Build from the form in `verified.json`; DgssError if it is truncated or edited."""
        try:
            if data['checksum'] != _checksum(data):
                raise ValueError('its checksum is wrong')
            values = {field.name: data[field.name] for field in fields(cls)}
            if not all(isinstance(values[name], kind) for name, kind in _KINDS.items()):
                raise TypeError('a value has another type')
            for reason in values['reasons']:
                if not isinstance(reason, str) or not reason.isprintable():
                    raise TypeError('a reason is no line of text')
            key = None if values['key'] is None else EngineKey(**values['key'])
            return cls(**values | {'key': key, 'gates': Gates(**values['gates'])})
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise DgssError(
                f'This is no report of a verification ({fault_of(error)}); run dgss engine '
                'verify again.'
            ) from error


def require_proof(
    backend: Backend,
    bundle: Bundle,
    outer: Bundle,
    cache: EngineCache,
    report: Report,
) -> None:
    """Check that `backend` is correct on this machine; verify it if there is no valid report.

    `outer`: holds the frames with the answers of the fp32 network; `bundle`, or the one around it.
    Raises RefusedError if the backend differs from them, and AbsentError if there are none.
    """
    if backend.key is None:
        return
    known = read_report(report_path(backend, cache), backend, bundle, outer.frames_digest)
    if known is None:
        if not (frames := outer.frames()):
            raise AbsentError(
                f'{why_unproven(backend.identity, bundle)}; run dgss engine verify with frames of '
                'your own, or allow unverified engines.'
            )
        pairs = ((frame, None) for frame in frames)
        known = verify(backend, bundle, pairs, cache, report, outer.frames_digest)
    with suppress(OSError):  # The cache may be read-only.
        os.utime(cache.folder_of(backend.key))  # when it was last used
    if known.reasons:
        raise RefusedError(
            f'{backend.identity} is refused, because its answers for {bundle.identity} are not '
            f'those of the reference ({known.reasons[0]}); see dgss engine verify.'
        )


def why_unproven(backend: str, bundle: Bundle) -> str:
    """Why a backend has no proof, as the beginning of a sentence."""
    return (
        f'{backend} is unverified, and {bundle.identity} has no reference frames to verify it with'
    )


def is_provable(bundle: Bundle, backend: str, cache: EngineCache) -> bool:
    """Whether `backend` has a chance in `require_proof`, without loading it.

    It has with reference frames, or where a backend of this name was verified before.
    """
    has_frames = any(name.startswith(f'{FRAMES}/') for name in bundle.manifest.files)
    return has_frames or any(cache.folder.glob(f'[!.]*-{backend}-*/{REPORT}'))


def verify(
    backend: Backend,
    bundle: Bundle,
    frames: Iterable[tuple[ReferenceFrame, np.ndarray | None]],
    cache: EngineCache,
    report: Report,
    frames_digest: str,
    origin: str = 'recorded in the bundle',
    labelled_in: LabelSet | None = None,
) -> Verification:
    """Compare `backend` with the reference, and store the report beside its engine.

    `frames`: with the answers of the reference, each with labels, ids of `labelled_in` (by default
    of the bundle), or None. `frames_digest`: of the bundle that holds the frames, empty for frames
    of the user. `origin`: where the answers come from. If the report cannot be stored, `report`
    takes the reason.
    """
    outcome = compare(backend, frames, bundle.labels, _gates(backend, bundle), labelled_in)
    verification = _describe(backend, bundle, outcome, origin, frames_digest)
    if backend.key is not None:
        path = report_path(backend, cache)
        try:
            if path.parent.is_symlink():
                raise OSError('it is a link; remove it')
            path.parent.mkdir(parents=True, exist_ok=True)
            write_whole(path, f'{json.dumps(verification.to_dict(), indent=2)}\n'.encode())
        except OSError as error:
            report(
                f'The verification cannot be kept in {path.parent} ({error.strerror or error}) '
                'and will be run again next time.'
            )
    return verification


def report_path(backend: Backend, cache: EngineCache) -> Path:
    assert backend.key is not None
    return cache.folder_of(backend.key) / REPORT


def load_report(path: Path) -> Verification | None:
    """The report at `path`; None without one, and for one that is edited or behind a link."""
    if path.parent.is_symlink():
        return None
    try:
        text = read_whole(path, LARGEST_DOCUMENT).decode()
        return Verification.from_dict(load_json(text, str(path)))
    except (OSError, ValueError, DgssError):
        return None


def read_report(
    path: Path, backend: Backend, bundle: Bundle, frames_digest: str
) -> Verification | None:
    """The report at `path`, if it is valid for this engine, these frames and the present gates.

    `frames_digest`: of the reference frames at hand. Any report is valid without them, and one on
    frames of the user also beside them.
    """
    known = load_report(path)
    if known is None or known.engine_sha256 != backend.sha256:
        return None
    if frames_digest and known.frames not in ('', frames_digest):
        return None
    return known if known.gates == _gates(backend, bundle) else None


def higher_precisions(bundle: Bundle) -> Iterator[Bundle]:
    """Yield the bundles in higher precision inside `bundle`, bf16 before fp32.

    Each is opened on demand, because opening one reads all of its weights.
    """
    for precision in ('bf16', 'fp32'):
        if (inside := open_higher(bundle, precision)) is not None:
            yield inside


def _gates(backend: Backend, bundle: Bundle) -> Gates:
    return GATES[backend.key.precision if backend.key else bundle.manifest.precision]


def _describe(
    backend: Backend, bundle: Bundle, outcome: Outcome, origin: str, frames_digest: str
) -> Verification:
    return Verification(
        reasons=outcome.reasons,
        when=datetime.datetime.now(datetime.timezone.utc).isoformat(timespec='seconds'),
        bundle=bundle.identity,
        backend=backend.identity,
        engine_sha256=backend.sha256,
        key=backend.key,
        machine={
            'host': platform.node(),
            'system': platform.platform(),
            'processor': asdict(processor()),
        },
        versions={
            'dgss_core': __version__,
            'python': platform.python_version(),
            'numpy': np.__version__,
        },
        reference=origin,
        frames=frames_digest,
        gates=outcome.gates,
        conditions=outcome.conditions,
        total=outcome.total,
    )


def _checksum(content: Mapping[str, Any]) -> str:
    signed = {key: value for key, value in content.items() if key != 'checksum'}
    return hashlib.sha256(json.dumps(signed, sort_keys=True).encode()).hexdigest()
