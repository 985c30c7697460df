"""Everything an engine depends on, down to versions. It is valid only if all of it is equal."""

from __future__ import annotations

import hashlib
import json
import platform
import re
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from dgss_core.runtime.bundle import Bundle

ANY = 'any'
"""Device and driver of an engine that was built ahead of time."""


@dataclass(frozen=True)
class Device:
    """The device that runs a network.

    `capability`: compute capability of a GPU, such as '8.9', or the instruction sets of a CPU.
    `driver`: driver version and the CUDA version it supports; empty for a CPU.
    """

    name: str
    capability: str
    driver: str = ''


def processor() -> Device:
    """The CPU of this machine, with the instruction sets that affect low precision."""
    try:
        text = Path('/proc/cpuinfo').read_text()
    except OSError:
        text = ''
    name = re.search(r'^model name\s*: (.+)$', text, re.MULTILINE)
    flags = set(re.findall(r'\b(?:avx2|avx512f|\w*vnni|\w*bf16|amx_\w+|asimddp|i8mm)\b', text))
    return Device(
        name[1] if name else platform.machine(), ' '.join((platform.machine(), *sorted(flags)))
    )


def computes_bf16(cpu: Device) -> bool:
    """Whether a CPU has instructions for bf16 with which PyTorch is faster than in fp32."""
    return not {'avx512_bf16', 'amx_bf16'}.isdisjoint(cpu.capability.split())


def nvidia_driver() -> str:
    """Version of the NVIDIA driver; 'built in' where the system holds it, as on a Jetson."""
    version = Path('/sys/module/nvidia/version')
    return version.read_text().strip() if version.is_file() else 'built in'


@dataclass(frozen=True)
class EngineKey:
    """Everything an engine depends on.

    `network`: fingerprint of the bundle. `version`: of the backend's library. `capability`: of
    the device; several joined by '+' for an engine built ahead of time. `shapes`: batch range
    and network size. `options`: of the builder.
    """

    bundle: str
    network: str
    precision: str
    backend: str
    version: str
    device: str
    capability: str
    driver: str
    shapes: str
    options: str

    @classmethod
    def of(
        cls,
        bundle: Bundle,
        device: Device,
        *,
        backend: str,
        version: str,
        batch: str,
        options: str,
        precision: str = '',
    ) -> EngineKey:
        """The key of `bundle` on `device`. `batch`: number of images, such as '1..4'.

        `precision`: used at run time, if it differs from the graph's.
        """
        manifest = bundle.manifest
        return cls(
            manifest.name,
            bundle.fingerprint,
            precision or manifest.precision,
            backend,
            version,
            device.name,
            device.capability,
            device.driver,
            f'{batch}x{bundle.height}x{bundle.width}',
            options,
        )

    @property
    def digest(self) -> str:
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()

    @property
    def folder_name(self) -> str:
        name = re.sub(r'[^A-Za-z0-9._-]', '_', self.bundle)
        return f'{name}-{self.backend}-{self.digest[:16]}'

    def ahead(self, capability: str) -> EngineKey:
        """The key of the same engine built ahead of time for any GPU of `capability`."""
        return replace(self, device=ANY, driver=ANY, capability=capability)

    def can_replace(self, wanted: EngineKey) -> bool:
        """Whether an engine of this key may replace one built for `wanted`."""
        fits = wanted.capability in self.capability.split('+')
        return self == wanted or (fits and self == wanted.ahead(self.capability))
