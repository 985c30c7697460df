"""PyTorch, straight from a checkpoint: what the exported networks are compared with."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from dgss_core.errors import DgssError
from dgss_core.export.network import DeployedNetwork
from dgss_core.networks.checkpoint import load_checkpoint
from dgss_core.runtime.backend import BackendOptions
from dgss_core.runtime.bundle import Bundle


class TorchBackend:
    """Runs the checkpoint in its name, `torch:PATH`, as the network of a bundle.

    On the GPU where there is one. A bundle holds no PyTorch network, so that the checkpoint it
    was exported from is named here. Raises DgssError for a checkpoint of other labels.
    """

    key = None

    def __init__(self, bundle: Bundle, name: str) -> None:
        path = Path(name.partition(':')[2])
        model = load_checkpoint(path)
        if model.label_set.names != bundle.labels.names:
            raise DgssError(
                f'{path} and {bundle.folder} have different classes; name the checkpoint that '
                'the bundle was exported from.'
            )
        self._device = torch.device('cuda' if torch.cuda.is_available() else 'cpu')
        self._network = DeployedNetwork(model).to(self._device)
        self.name = name
        device = torch.cuda.get_device_name() if self._device.type == 'cuda' else 'CPU'
        self.identity = f'PyTorch {torch.__version__}, {device}, fp32'
        self.sha256 = bundle.fingerprint

    def run(self, images: np.ndarray) -> dict[str, np.ndarray]:
        with torch.inference_mode():
            outputs = self._network(torch.from_numpy(images).to(self._device))
        arrays = (output.cpu().numpy() for output in outputs)
        return dict(zip(self._network.OUTPUTS, arrays, strict=True))

    def close(self) -> None:
        del self._network


def open_backend(bundle: Bundle, options: BackendOptions) -> TorchBackend:
    return TorchBackend(bundle, options.name)
