"""PyTorch, directly from a checkpoint, to compare exported networks with."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from dgss_core.errors import DgssError
from dgss_core.export.network import DeployedNetwork
from dgss_core.networks.checkpoint import load_checkpoint
from dgss_core.runtime.backend import BackendOptions, closed_error
from dgss_core.runtime.bundle import Bundle
from dgss_core.runtime.bundle.contents import sha256_of


class TorchBackend:
    """Runs the checkpoint in its name, `torch:PATH`, as the network of a bundle.

    Uses the GPU if there is one. The name must give the checkpoint, because a bundle contains no
    PyTorch network. Raises DgssError for a checkpoint with other labels.
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
        self._network: DeployedNetwork | None = DeployedNetwork(model).to(self._device)
        self.name = name
        device = torch.cuda.get_device_name() if self._device.type == 'cuda' else 'CPU'
        self.identity = f'PyTorch {torch.__version__}, {device}, fp32'
        self.sha256 = sha256_of(path)
        self.network = f'{name}@{self.sha256[:8]}'

    def run(self, images: np.ndarray) -> dict[str, np.ndarray]:
        network = self._network
        if network is None:
            raise closed_error(self.identity)
        with torch.inference_mode():
            outputs = network(torch.from_numpy(images).to(self._device))
        arrays = (output.cpu().numpy() for output in outputs)
        return dict(zip(network.OUTPUTS, arrays, strict=True))

    def close(self) -> None:
        self._network = None


def open_backend(bundle: Bundle, options: BackendOptions) -> TorchBackend:
    return TorchBackend(bundle, options.name)
