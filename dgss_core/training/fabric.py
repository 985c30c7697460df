"""Lightning Fabric, imported without torchmetrics.

Fabric imports torchmetrics, where it is installed, to compare its version for a callback that is
not used here. That takes longer than the import of torch.
"""

from __future__ import annotations

import sys

_hidden = 'torchmetrics' not in sys.modules
if _hidden:
    sys.modules['torchmetrics'] = None  # type: ignore[assignment]
try:
    from lightning_fabric import Fabric
    from lightning_fabric.strategies import ModelParallelStrategy
    from lightning_fabric.wrappers import _FabricModule as FabricModule
finally:
    if _hidden:
        del sys.modules['torchmetrics']

__all__ = ['Fabric', 'FabricModule', 'ModelParallelStrategy']
