"""A network compiled by TorchInductor, with its kernels kept between two starts.

Ansel et al., "PyTorch 2: Faster machine learning through dynamic Python bytecode transformation
and graph compilation", 2024. It writes C++ for a CPU and Triton for a GPU.
"""

from __future__ import annotations

import logging
import os
import shutil
import stat
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import nn

from dgss_core.errors import DgssError
from dgss_core.files.flushing import flush_tree
from dgss_core.files.lock import locked
from dgss_core.networks.compilation import compiling_often
from dgss_core.runtime.backend import Report, first_line

CACHES = {'TORCHINDUCTOR_CACHE_DIR': '', 'TRITON_CACHE_DIR': 'triton'}
"""Where TorchInductor and Triton look for kernels at each compilation, and the folder of each in
that of a network. TorchInductor sets the second for the whole process if it is not set."""
LOCK, WHOLE = '.lock', 'whole'
"""In the folder of a network: held while it is compiled; there once it has been."""
LOCK_WAIT_S = 1800.0
"""Longest wait for another process; longer than the longest compilation."""
_compiling = threading.Lock()


def compile_network(network: nn.Module, images: torch.Tensor, folder: Path, report: Report) -> Any:
    """Compile `network` for the shape of `images`, and run it on them once.

    The caller chooses inference mode and autocast, and keeps to them, to the shape and to the
    threads of PyTorch afterwards: otherwise the next call compiles again.
    `folder`: keeps the kernels of this network; where it cannot be used, `report` takes the reason
    and they are compiled again next time. Those of a compilation that was stopped are removed: the
    compiler writes in place, and PyTorch takes a torn file for a kernel. One process compiles
    while others wait. Raises DgssError if they cannot be compiled.
    """
    with ExitStack() as stack:
        stack.enter_context(_compiling)  # the environment is that of the process
        kernels = _usable(folder, stack, report)
        stack.enter_context(_kernels_in(kernels))
        stack.enter_context(compiling_often())
        # It warns of CUDA where there is no GPU.
        logging.getLogger('torch.utils.cpp_extension').setLevel(logging.ERROR)
        compiled = torch.compile(network, dynamic=False)
        try:
            compiled(images)
        except Exception as error:  # of the compiler, Triton, or the network itself
            raise _failure(error, kernels) from error
        _finish(kernels, report)
        return compiled


def _usable(folder: Path, stack: ExitStack, report: Report) -> Path:
    """`folder`, made if need be; a temporary one where others may write or replace, or nobody."""
    try:
        folder = _made(folder.absolute())
        if folder.lstat().st_uid != os.getuid():
            raise PermissionError('it does not belong to this user')
        for place in (folder, *folder.parents):
            _refuse_others(place, folder)
        if not os.access(folder, os.W_OK):
            raise PermissionError('it cannot be written')
        os.utime(folder.parent)  # when it was last used
        stack.enter_context(_sole_user(folder, report))
        return folder
    except OSError as error:
        _report_unkept(folder, error, report)
        return Path(stack.enter_context(TemporaryDirectory(prefix='dgss-')))


@contextmanager
def _sole_user(folder: Path, report: Report) -> Iterator[None]:
    """Keep other processes from `folder`, which holds a whole network or none at the start."""

    def tell() -> None:
        report('Another process compiles this network; waiting for it.')

    with locked(folder / LOCK, longest_s=LOCK_WAIT_S, waiting=tell) as held:
        if not held:
            raise OSError('another process holds its lock')
        if not (folder / WHOLE).exists():
            for path in folder.iterdir():
                if path.is_dir() and not path.is_symlink():
                    shutil.rmtree(path)
                elif path.name != LOCK:
                    path.unlink()
        yield


def _finish(folder: Path, report: Report) -> None:
    """Note that the kernels in `folder` are whole, once they are on the disk."""
    try:
        if not (folder / WHOLE).exists():
            flush_tree(folder)
            (folder / WHOLE).touch()
    except OSError as error:
        _report_unkept(folder, error, report)


def _report_unkept(folder: Path, error: OSError, report: Report) -> None:
    report(
        f'The compiled network cannot be kept in {folder} '
        f'({error.strerror or error}) and is compiled again next time.'
    )


def _made(folder: Path) -> Path:
    """`folder` without links above it; what is missing of it is made for this user alone."""
    for place in (*reversed(folder.parents), folder):
        with suppress(FileExistsError):
            if not place.is_dir():
                place.mkdir(mode=0o700)
    return folder.parent.resolve() / folder.name


def _refuse_others(place: Path, folder: Path) -> None:
    """Raise PermissionError if others may write to `place`, `folder` or one above it."""
    about = place.lstat()
    which = 'it' if place == folder else str(place)
    if not stat.S_ISDIR(about.st_mode):
        raise PermissionError(f'{which} is no folder')
    if about.st_uid not in (os.getuid(), 0):
        raise PermissionError(f'{which} belongs to another user')
    # In a sticky folder, as /tmp, nobody may replace the folders of another user.
    is_sticky = place != folder and about.st_mode & stat.S_ISVTX
    if about.st_mode & (stat.S_IWGRP | stat.S_IWOTH) and not is_sticky:
        raise PermissionError(f'other users may write to {which}: chmod go-w {place}')


@contextmanager
def _kernels_in(folder: Path) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in CACHES}
    os.environ.update({name: str(folder.absolute() / part) for name, part in CACHES.items()})
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value


def _failure(error: Exception, kernels: Path) -> DgssError:
    text = str(error)
    if 'No working C++ compiler' in text or 'Failed to find C compiler' in text:
        return DgssError(
            'PyTorch finds no C++ compiler to compile the network with; install one (apt install '
            'g++ python3-dev), name it in CXX, or leave out the option compile.'
        )
    if isinstance(error, torch.OutOfMemoryError):
        return DgssError(
            'The GPU has no memory to compile the network; close other programs on it, or use a '
            'smaller network.'
        )
    remedy = f'remove {kernels}, ' if str(kernels) in text else ''
    return DgssError(
        f'PyTorch {torch.__version__} cannot compile the network ({first_line(error)}); {remedy}'
        'leave out the option compile, or use the backend onnxruntime.'
    )
