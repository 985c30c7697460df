"""Reads safetensors and torch files; what is neither is named, and no code in a file is run."""

from __future__ import annotations

import pickle
import re
import warnings
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from dgss_core.documents import load_json
from dgss_core.errors import DgssError, cause, one_line, read_head, shown, why_not
from dgss_core.networks.torchscript_files import read_torchscript

SKIPPED = (
    'argparse.Namespace',
    'builtins.getattr',
    'mmengine.logging.history_buffer.HistoryBuffer',
    'pathlib.PosixPath',
    'pathlib.WindowsPath',
    'pathlib._local.PosixPath',
    'pathlib._local.WindowsPath',
    *(f'numpy.{name}' for name in ('dtype', 'ndarray')),
    *(
        f'numpy.{core}.multiarray.{name}'
        for core in ('core', '_core')
        for name in ('_reconstruct', 'scalar')
    ),
)
"""What training programs store beside weights: arguments, logs, scores. None of it is built."""

_SAFETENSORS = re.compile(rb'(?s).{8}\{')
_PICKLE = re.compile(rb'\x80[\x02-\x05]')
_LARGEST_HEADER = 100_000_000
"""Bytes, as in safetensors itself."""


class Skipped:
    """Stands for a value beside the weights, whatever its class. Nothing of it is kept."""

    def __new__(cls, *_: Any) -> Skipped:
        return object.__new__(cls)

    def __init__(self, *_: Any) -> None:
        pass

    def __setstate__(self, state: Any) -> None:
        pass


def is_safetensors(path: Path) -> bool:
    """Whether a file begins as a safetensors file does; of what is neither, its name decides."""
    head = _head(path)
    return bool(_SAFETENSORS.match(head)) or (
        path.suffix == '.safetensors' and not _is_torch(head)
    )


def _is_torch(head: bytes) -> bool:
    # The length of the header, which comes first in a safetensors file, may look like a pickle.
    return not _SAFETENSORS.match(head) and bool(head[:2] == b'PK' or _PICKLE.match(head))


def read_tensors(path: Path) -> tuple[dict[str, str], dict[str, Tensor]]:
    """Metadata and tensors of a safetensors file. Raises DgssError if it is not a whole one."""
    try:
        with safe_open(path, framework='pt') as file:
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
            return file.metadata() or {}, tensors
    except (SafetensorError, OSError) as error:
        raise not_safetensors(path, error) from error


def read_metadata(path: Path) -> dict[str, str]:
    """As `read_tensors`, without the tensors."""
    try:
        with safe_open(path, framework='pt') as file:
            return file.metadata() or {}
    except (SafetensorError, OSError) as error:
        raise not_safetensors(path, error) from error


def not_safetensors(path: Path, error: Exception) -> DgssError:
    """The error for a file that safetensors cannot read: it says what the file is instead."""
    head = _head(path)
    if _is_torch(head):
        what = 'is a torch file, not a safetensors file; convert it with dgss convert'
    elif known := why_not(path):
        what = f'is {known}'
    elif lengths := _lengths(path):
        what = f'is cut short ({lengths}); copy or download it again'
    else:
        what = f'is not a whole safetensors file ({cause(error)}); copy or write it again'
    return DgssError(f'{path} {what}.')


def read_torch(path: Path, device: str = 'cpu') -> object:
    """What a torch file holds; values beside tensors and plain ones are `Skipped`.

    Raises DgssError if it is damaged, of another kind, or holds more than that.
    """
    head = _head(path)
    if known := why_not(path, 'zip'):
        raise DgssError(f'{path} is {known}.')
    if head.startswith(b'PK'):
        if _check_zip(path):
            return read_torchscript(path, device)
    elif not _is_torch(head):
        raise DgssError(
            f'{path} is not a torch weight file (it starts with {shown(head[:12])}); give a '
            'safetensors or torch file.'
        )
    try:
        with warnings.catch_warnings(), torch.serialization.safe_globals(_stand_ins()):
            warnings.simplefilter('ignore')
            return torch.load(path, map_location=device, weights_only=True)
    except Exception as error:  # Damaged bytes make the unpickler of torch raise anything.
        raise _not_loaded(path, error) from None


def refuse_code(path: Path) -> None:
    """Raise DgssError as `read_torch` and `read_tensors` do; needs no memory for the weights."""
    if is_safetensors(path):
        read_metadata(path)
    else:
        read_torch(path, 'meta')


def _stand_ins() -> list[Any]:
    return [(Skipped, name) for name in SKIPPED]


def _not_loaded(path: Path, error: Exception) -> DgssError:
    named = re.search(r'GLOBAL (\S+)', str(error))
    if isinstance(error, pickle.UnpicklingError) and named:
        return DgssError(
            f'{path} holds more than tensors ({shown(named[1])}), and running code from a weight '
            'file is refused; save its state_dict alone, best as safetensors.'
        )
    if isinstance(error, pickle.UnpicklingError) and 'operand' in str(error):
        return DgssError(
            f'{path} is a pickle that torch.save did not write so; load it where it was written '
            'and save its state_dict as safetensors.'
        )
    reason = next(iter(str(error).splitlines()), '') or type(error).__name__
    return DgssError(
        f'{path} is a damaged torch weight file ({one_line(reason)}); copy or download it again.'
    )


def _check_zip(path: Path) -> bool:
    """Whether an archive is a TorchScript program.

    Raises DgssError for a zip archive that torch did not write, or not to its end.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
    except Exception as error:  # Also struct.error, UnicodeDecodeError, NotImplementedError.
        raise DgssError(
            f'{path} is cut short or damaged ({_amount(path.stat().st_size)} are there, but no '
            'list of contents at the end); copy or download it again.'
        ) from error
    names = {Path(member.filename).name for member in members}
    if any(member.flag_bits & 1 for member in members):
        fault = 'is an encrypted archive; unpack it with its password'
    elif names and all(name.endswith('.npy') for name in names):
        fault = (
            'is an .npz archive of NumPy; load its arrays and save them as a state_dict, by '
            'safetensors or torch.save'
        )
    elif 'data.pkl' not in names:
        fault = 'is a zip archive that torch did not write; unpack it, and give the file inside'
    elif any(m.compress_type and '/code/' not in m.filename for m in members):
        fault = 'is compressed, which torch never writes; save the weights again'
    else:
        return 'constants.pkl' in names
    raise DgssError(f'{path} {fault}.')


def _lengths(path: Path) -> str:
    """How much is there of a safetensors file that is shorter than its header says, or ''."""
    head, size = _head(path), 0
    with suppress(OSError):
        size = path.stat().st_size
    length = int.from_bytes(head[:8], 'little')
    if not _SAFETENSORS.match(head) or length > _LARGEST_HEADER:
        return ''
    whole = 8 + length
    if size >= whole:
        with suppress(OSError, DgssError, AttributeError, LookupError, TypeError, ValueError):
            with path.open('rb') as file:
                file.seek(8)
                header = load_json(file.read(length), str(path))
            whole += max(_ends(header), default=0)
    return f'{_amount(size)} of {_amount(whole)}' if size < whole else ''


def _amount(size: int) -> str:
    return f'{size / 1e6:.1f} MB' if size >= 1e6 else f'{size} bytes'


def _ends(header: Mapping[str, Any]) -> Iterator[int]:
    for key, entry in header.items():
        if key != '__metadata__':
            yield int(entry['data_offsets'][1])


def _head(path: Path) -> bytes:
    with suppress(OSError, ValueError):
        return read_head(path)
    return b''
