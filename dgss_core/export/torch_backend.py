"""PyTorch, directly from a checkpoint: to compare with, and for large networks on a GPU."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import cache
from pathlib import Path
from weakref import WeakSet

import numpy as np
import torch
from torch import Tensor, nn

from dgss_core import __version__
from dgss_core.errors import DgssError, cause
from dgss_core.export.compiling import compile_network
from dgss_core.export.network import DeployedNetwork
from dgss_core.networks.adapters.lora import merge_lora
from dgss_core.networks.checkpoint import load_checkpoint
from dgss_core.networks.device import best_device
from dgss_core.networks.systems import SegmentationModel
from dgss_core.runtime.backend import BackendOptions, closed_error, first_line
from dgss_core.runtime.backends.names import TorchName, parse_torch
from dgss_core.runtime.bundle import Bundle
from dgss_core.runtime.bundle.contents import sha256_of
from dgss_core.runtime.engines.cache import INDUCTOR, EngineCache
from dgss_core.runtime.key import Device, EngineKey, nvidia_driver, processor

DTYPES = {'fp32': torch.float32, 'fp16': torch.float16, 'bf16': torch.bfloat16}
PACKAGE = Path(__file__).parents[1]
CODE = ('export/**/*.py', 'networks/**/*.py', 'training/styles.py')
"""What a network and its outputs are made by, in `PACKAGE`."""


class TorchBackend:
    """Runs the checkpoint in its name, `torch:PATH?OPTIONS`, as the network of a bundle.

    Uses the GPU if there is one. The name must give the checkpoint, because a bundle contains no
    PyTorch network. With `compile` it is compiled for one image of the bundle's size when it is
    loaded, and images are run one by one; with `fp16` or `bf16` its layers are of that type. Both
    need a proof, as every engine does. `options.threads` is a setting of the whole process, and
    stays as it is while a compiled network is open, which would be compiled again in a call.
    Raises DgssError for a checkpoint with other labels or one that is written meanwhile, for
    another number of threads than that of a compiled network, and if it cannot be compiled.
    """

    def __init__(self, bundle: Bundle, options: BackendOptions) -> None:
        self.name, asked = options.name, parse_torch(options.name)
        path = Path(asked.path)
        model, self.sha256 = _load(path)
        if model.label_set.names != bundle.labels.names:
            raise DgssError(
                f'{path} and {bundle.folder} have different classes; name the checkpoint that '
                'the bundle was exported from.'
            )
        if options.threads:
            _set_threads(options.threads)
        self.network = f'{options.name}@{self.sha256[:8]}'
        self._device = torch.device(best_device())
        self.device = 'GPU' if self._device.type == 'cuda' else 'CPU'
        self.precision = asked.precision
        self.key = _key(bundle, asked, self.sha256)
        place = torch.cuda.get_device_name() if self.device == 'GPU' else 'CPU'
        how = ', compiled' if asked.is_compiled else ''
        self.identity = f'PyTorch {torch.__version__}, {place}, {asked.precision}{how}'
        if asked.precision == 'fp32':  # TF32 keeps ten bits of a factor: too few for fp32.
            torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
        merge_lora(model)
        network = narrowed(DeployedNetwork(model).eval(), DTYPES[asked.precision])
        network.to(self._device)
        self._network: nn.Module | None = network
        self._at_once = 1 if asked.is_compiled else None
        if asked.is_compiled:
            self._network = self._compiled(network, bundle, options)
            self.threads = torch.get_num_threads()
            _compiled.add(self)

    def run(self, images: np.ndarray) -> dict[str, np.ndarray]:
        network = self._network
        if network is None:
            raise closed_error(self.identity)
        count = self._at_once or len(images)
        with self._computing():
            parts = [
                network(self._tensor(images[start : start + count]))
                for start in range(0, len(images), count)
            ]
        return {
            name: np.concatenate([_to_numpy(part) for part in outputs])
            for name, *outputs in zip(DeployedNetwork.OUTPUTS, *parts, strict=True)
        }

    def launches(self, images: np.ndarray) -> int:
        """The kernels of the GPU in one call. Raises DgssError if they cannot be counted.

        On a CPU, where no roof needs them, the operators: the same count is tested there.
        """
        activities = [torch.profiler.ProfilerActivity.CPU]
        if self.device == 'GPU':
            activities.append(torch.profiler.ProfilerActivity.CUDA)
        try:
            with torch.profiler.profile(activities=activities, acc_events=True) as profile:
                self.run(images)
            events = profile.events() or []
        except RuntimeError as error:
            raise DgssError(
                f'the kernels of {self.network} cannot be counted ({first_line(error)})'
            ) from error
        if self.device == 'GPU':
            return sum(event.device_type == torch.autograd.DeviceType.CUDA for event in events)
        return sum(not event.cpu_children for event in events)

    def close(self) -> None:
        self._network = None
        _compiled.discard(self)

    def _compiled(self, network: nn.Module, bundle: Bundle, options: BackendOptions) -> nn.Module:
        assert self.key is not None
        options.report(f'Compiling {self.network}; the first time takes minutes.')
        folder = EngineCache(options.cache_dir).folder_of(self.key) / INDUCTOR
        image = np.zeros((1, bundle.height, bundle.width, 3), np.uint8)
        with self._computing():
            # Made as `run` makes it: for a tensor of another kind it would be compiled again.
            return compile_network(network, self._tensor(image), folder, options.report)

    def _tensor(self, images: np.ndarray) -> Tensor:
        # `image[None]` has other strides than an array of one image, for which it was compiled.
        flat = torch.from_numpy(images.reshape(-1))
        return flat.view(images.shape).to(self._device)

    def _computing(self) -> AbstractContextManager[None]:
        return computing_in(self._device.type, DTYPES[self.precision])


_compiled: WeakSet[TorchBackend] = WeakSet()
"""The open compiled networks of the process."""


def _set_threads(count: int) -> None:
    for other in [*_compiled]:
        if other.threads != count:
            raise DgssError(
                f'{other.network} is compiled for {other.threads} threads of PyTorch in this '
                f'process, not {count}; give both the same number, or start another process.'
            )
    torch.set_num_threads(count)


def _load(path: Path) -> tuple[SegmentationModel, str]:
    """The model of a checkpoint, and the SHA-256 of the file that it was read from."""
    before = _sha256(path) if path.is_file() else ''
    model = load_checkpoint(path)
    if _sha256(path) != before:
        raise DgssError(f'{path} changed while it was loaded; load it when nobody writes it.')
    return model, before


def _sha256(path: Path) -> str:
    try:
        return sha256_of(path)
    except OSError as error:
        raise DgssError(f'{path} cannot be read: {cause(error)}.') from error


@contextmanager
def computing_in(device: str, dtype: torch.dtype) -> Iterator[None]:
    """Inside the block networks run without gradients, in `dtype` where that is safe."""
    with torch.inference_mode(), torch.autocast(device, dtype, enabled=dtype != torch.float32):
        yield


def narrowed(network: nn.Module, dtype: torch.dtype) -> nn.Module:
    """Change the layers that autocast computes in `dtype`, so that it casts them only once."""
    for module in network.modules():
        if isinstance(module, (nn.Linear, nn.Conv2d, nn.ConvTranspose2d)):
            module.to(dtype)
    return network


def _to_numpy(output: Tensor) -> np.ndarray:
    return (output.float() if output.is_floating_point() else output).cpu().numpy()


@cache
def digest_of_code(package: Path = PACKAGE) -> str:
    """Start of a SHA-256 of `CODE` in `package`: other code may give other answers."""
    digest = hashlib.sha256()
    for path in sorted(path for pattern in CODE for path in package.glob(pattern)):
        name, content = path.relative_to(package).as_posix(), path.read_bytes()
        digest.update(f'{name}\n{len(content)}\n'.encode() + content)
    return digest.hexdigest()[:16]


def _key(bundle: Bundle, asked: TorchName, sha256: str) -> EngineKey | None:
    """What the answers depend on; None for the plain network, which is a reference itself."""
    if not asked.is_compiled and asked.precision == 'fp32':
        return None
    device = processor()
    if torch.cuda.is_available():
        capability = '.'.join(map(str, torch.cuda.get_device_capability()))
        driver = f'{nvidia_driver()}, CUDA {torch.version.cuda}'
        device = Device(torch.cuda.get_device_name(), capability, driver)
    # The kernels are written for a number of threads.
    how = f'compiled for {torch.get_num_threads()} threads' if asked.is_compiled else 'eager'
    return EngineKey.of(
        bundle,
        device,
        backend='torch',
        version=torch.__version__,
        batch='1' if asked.is_compiled else 'any',
        options=f'{how}, checkpoint {sha256}, dgss_core {__version__} {digest_of_code()}',
        precision=asked.precision,
    )


def open_backend(bundle: Bundle, options: BackendOptions) -> TorchBackend:
    return TorchBackend(bundle, options)
