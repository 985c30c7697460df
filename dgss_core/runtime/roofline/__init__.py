"""The least time a network can take on a device, from rates that are measured on that device.

Williams et al., "Roofline: an insightful visual performance model", 2009: a layer is bound either
by the bytes it moves or by its operations. Where a network has many small layers, the time to
launch them is longer than both.

`layers` counts what a network does, `machine` compares it with the rates, `cpu` measures those of
the CPU, and `chains` those of any device on which a library can run two operators in a row.
"""

from dgss_core.runtime.roofline.cpu import measure_cpu
from dgss_core.runtime.roofline.layers import Layer, layers_of, nodes_of
from dgss_core.runtime.roofline.machine import Machine, Roof

__all__ = ['Layer', 'Machine', 'Roof', 'layers_of', 'measure_cpu', 'nodes_of']
