"""Weights inside a TorchScript archive, such as OpenAI's CLIP; its program is never run.

`data.pkl` of such an archive holds the modules as objects of classes below `__torch__`, whose
state is a dict of attributes, and tensors that name a range of a file in `data/`
(torch/csrc/jit/docs/serialization.md). The unpickler here knows these and nothing else.
"""

from __future__ import annotations

import io
import pickle
import zipfile
from collections import OrderedDict
from collections.abc import Callable, Iterator
from math import prod
from pathlib import Path
from typing import Any, NoReturn

import torch
from torch import Tensor

from dgss_core.errors import DgssError, one_line, shown

STORAGES = {
    'DoubleStorage': torch.float64,
    'FloatStorage': torch.float32,
    'HalfStorage': torch.float16,
    'BFloat16Storage': torch.bfloat16,
    'LongStorage': torch.int64,
    'IntStorage': torch.int32,
    'ShortStorage': torch.int16,
    'CharStorage': torch.int8,
    'ByteStorage': torch.uint8,
    'BoolStorage': torch.bool,
}
PLAIN = ('build_intlist', 'build_doublelist', 'build_boollist', 'build_tensorlist')
"""Functions of torch.jit._pickle that return what they are given; so does restore_type_tag."""


def read_torchscript(path: Path, device: str = 'cpu') -> dict[str, Tensor]:
    """The tensors of all modules of an archive, by their names as in `state_dict`.

    With the device `meta` they have no data. Raises DgssError if the archive holds anything but
    modules, tensors and plain values, or is damaged.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            (name,) = [name for name in archive.namelist() if name.endswith('/data.pkl')]
            content = io.BytesIO(archive.read(name))
            root = name.removesuffix('data.pkl')
            module = _Unpickler(content, archive, root, device, path).load()
            return dict(_tensors(module, ''))
    except DgssError:
        raise
    except Exception as error:  # Damaged bytes make an unpickler raise anything.
        raise DgssError(
            f'{path} is a damaged TorchScript archive ({one_line(error)}); copy or download it '
            'again.'
        ) from None


class _Module:
    """Stands for a module of any class; its attributes are values."""

    attributes: dict[str, Any]

    def __setstate__(self, attributes: Any) -> None:
        self.attributes = attributes if isinstance(attributes, dict) else {}


class _Unpickler(pickle.Unpickler):
    def __init__(
        self, content: io.BytesIO, archive: zipfile.ZipFile, root: str, device: str, path: Path
    ) -> None:
        super().__init__(content)
        self._archive, self._root, self._device, self._path = archive, root, device, path

    def find_class(self, module: str, name: str) -> Any:
        if module.split('.')[0] == '__torch__':
            return _Module
        if (module, name) == ('collections', 'OrderedDict'):
            return OrderedDict
        if (module, name) == ('torch._utils', '_rebuild_tensor_v2'):
            return self._rebuilt
        if module == 'torch' and name in STORAGES:
            return STORAGES[name]
        if module == 'torch.jit._pickle' and name in (*PLAIN, 'restore_type_tag'):
            return _first
        self._refuse(f'{module}.{name}')

    def persistent_load(self, found: Any) -> Any:
        """A function that reads the storage of a tensor, and the type of its values."""
        _, dtype, key, _, _ = found
        if not isinstance(dtype, torch.dtype) or not str(key).isalnum():
            self._refuse(shown(found))

        def read() -> Tensor:
            data = bytearray(self._archive.read(f'{self._root}data/{key}'))
            return torch.frombuffer(data, dtype=dtype)

        return read, dtype

    def _rebuilt(
        self,
        storage: tuple[Callable[[], Tensor], torch.dtype],
        offset: int,
        size: tuple[int, ...],
        stride: tuple[int, ...],
        *_: Any,
    ) -> Tensor:
        read, dtype = storage
        if self._device == 'meta':
            return torch.empty(size, dtype=dtype, device='meta')
        values = read()
        if prod(size) > len(values):
            raise ValueError(f'a tensor of {prod(size)} values in a storage of {len(values)}')
        return values.as_strided(size, stride, offset).clone()

    def _refuse(self, what: str) -> NoReturn:
        raise DgssError(
            f'{self._path} holds more than modules and tensors ({shown(what)}), and running code '
            'from a weight file is refused; save its state_dict alone, best as safetensors.'
        )


def _first(value: Any, *_: Any) -> Any:
    return value


def _tensors(module: Any, prefix: str) -> Iterator[tuple[str, Tensor]]:
    if isinstance(module, _Module):
        for name, value in module.attributes.items():
            if isinstance(value, Tensor):
                yield f'{prefix}{name}', value
            else:
                yield from _tensors(value, f'{prefix}{name}.')
