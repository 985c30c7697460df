"""The rates of a device, and what limits a network on it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from dgss_core.errors import DgssError
from dgss_core.runtime.roofline.layers import Layer

BYTES = {'fp32': 4, 'tf32': 4, 'fp16': 2, 'bf16': 2, 'int8': 1}
"""Of an element in each precision."""
EXPLAINED = 0.5
"""A limit explains a time of which it takes this share or more."""
ARITHMETIC, TRAFFIC, LAUNCHES, NOTHING = 'arithmetic', 'bytes', 'launches', ''


@dataclass(frozen=True)
class Machine:
    """What a device does in a second, at best.

    `copy`: bytes read and written. `gemm`: operations of a product of matrices, by precision.
    `launch`: the least seconds of a node, however small; None where that is not measured.
    """

    name: str
    copy: float
    gemm: Mapping[str, float]
    launch: float | None = None


@dataclass(frozen=True)
class Roof:
    """The least seconds of a network on a machine in one precision.

    `arithmetic`, `traffic`: of the layers that are bound by their operations, and by their bytes.
    `launches`: of its nodes one after the other; None where that is not known.
    """

    precision: str
    arithmetic: float
    traffic: float
    launches: float | None = None

    @classmethod
    def of(
        cls,
        layers: Sequence[Layer],
        machine: Machine,
        precision: str = 'fp32',
        nodes: int | None = None,
    ) -> Roof:
        """The roof of `layers`, which run as `nodes` nodes.

        Raises DgssError for a precision whose rate is not measured.
        """
        if precision not in machine.gemm:
            raise DgssError(
                f'the rate of {machine.name} in {precision} could not be measured; measured are '
                f'{", ".join(machine.gemm) or "none"}'
            )
        spans = {ARITHMETIC: 0.0, TRAFFIC: 0.0}
        for layer in layers:
            arithmetic = layer.operations / machine.gemm[precision]
            traffic = layer.elements * BYTES[precision] / machine.copy
            spans[ARITHMETIC if arithmetic >= traffic else TRAFFIC] += max(arithmetic, traffic)
        launches = None
        if nodes is not None and machine.launch is not None:
            launches = nodes * machine.launch
        return cls(precision, spans[ARITHMETIC], spans[TRAFFIC], launches)

    @property
    def seconds(self) -> float:
        """The least time of the layers one after the other, each read and written once."""
        return self.arithmetic + self.traffic

    def limit(self, seconds: float) -> str:
        """What a call of `seconds` is bound by: `ARITHMETIC`, `TRAFFIC`, `LAUNCHES` or `NOTHING`.

        Nodes are launched while the device works on those before, so the larger of both limits
        counts. `NOTHING`: neither takes half of the time.
        """
        launches = self.launches or 0.0
        if max(self.seconds, launches) < EXPLAINED * seconds:
            return NOTHING
        if launches > self.seconds:
            return LAUNCHES
        return ARITHMETIC if self.arithmetic >= self.traffic else TRAFFIC
