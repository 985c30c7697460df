"""Weights from timm, open_clip or a local file; they load completely or not at all."""

from __future__ import annotations

import pickle
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from dgss_core.errors import DgssError
from dgss_core.networks.importers.keys import load_exactly

WRAPPERS = ('state_dict', 'model_state', 'model', 'module')
"""Keys under which training programs store the state dict in a checkpoint."""


def read_weights(weights: str | Path) -> dict[str, Tensor]:
    """Read a state dict, with floating point tensors as float32 on the CPU.

    `weights` is `timm:<model>[.<tag>]`, `open_clip:<model>/<tag>` (the image tower), or the path
    of a safetensors or torch file. timm and open_clip download and cache their weights. Code in a
    torch file is never run. Raises DgssError if the weights cannot be read.
    """
    library, _, name = str(weights).partition(':')
    if library == 'timm':
        state = _from_timm(name)
    elif library == 'open_clip':
        state = open_clip_model(name).visual.state_dict()
    else:
        state = read_file(Path(weights))
    return {k: v.float() if v.is_floating_point() else v for k, v in state.items()}


def read_file(path: Path) -> dict[str, Tensor]:
    """Read the tensors of a safetensors or torch file, also from inside a training checkpoint.

    Raises DgssError if the file is missing, damaged, or holds anything but tensors.
    """
    if not path.is_file():
        raise DgssError(
            f'There is no weight file {path}; give the path of a safetensors or torch file, '
            'timm:<model>, or open_clip:<model>/<tag>.'
        )
    if path.suffix == '.safetensors':
        try:
            return load_file(path)
        except SafetensorError as error:
            raise DgssError(f'{path} is not a whole safetensors file ({error}).') from None
    content = _unpickle(path)
    for key in WRAPPERS:
        if isinstance(content, Mapping) and isinstance(content.get(key), Mapping):
            content = content[key]
    if not isinstance(content, Mapping) or not content:
        raise DgssError(f'{path} holds no state_dict; save model.state_dict() to it.')
    strays = [key for key, value in content.items() if not isinstance(value, Tensor)]
    if strays:
        raise DgssError(
            f'{path} holds no plain state_dict ({strays[0]!r} is no tensor); save '
            'model.state_dict() to it.'
        )
    return dict(content)


def _unpickle(path: Path) -> object:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter('ignore')
            return torch.load(path, map_location='cpu', weights_only=True)
    except pickle.UnpicklingError as error:
        lines = [line for line in str(error).splitlines() if 'GLOBAL' in line]
        reason = lines[0].strip() if lines else 'a pickle of an unknown kind'
        raise DgssError(
            f'{path} holds more than tensors ({reason}), and running code from a weight file is '
            'refused; save its state_dict alone, best as safetensors.'
        ) from None
    except (RuntimeError, EOFError, ValueError) as error:
        raise DgssError(
            f'{path} is not a torch weight file ({_reason(error)}); OpenAI archives are read '
            'through open_clip:<model>/openai.'
        ) from None


def load_weights(
    module: nn.Module,
    state: Mapping[str, Tensor],
    origin: str,
    may_lack: Sequence[str] = (),
) -> list[str]:
    """Load `state` into `module` completely, or raise a DgssError that lists the differences.

    Only keys with a prefix in `may_lack` and `num_batches_tracked` counters may be missing; they
    keep their values. Returns the missing keys with such a prefix.
    """
    own = module.state_dict()
    kept = [
        key
        for key in own
        if key not in state
        and (key.startswith(tuple(may_lack)) or key.endswith('num_batches_tracked'))
    ]
    load_exactly(module, {key: own[key] for key in kept} | dict(state), origin)
    return [key for key in kept if key.startswith(tuple(may_lack))]


def _from_timm(name: str) -> dict[str, Tensor]:
    import timm

    if not timm.is_model(name.split('.')[0]):
        raise DgssError(f'timm has no model {name!r}; see timm.list_pretrained().')
    try:
        return timm.create_model(name, pretrained=True).state_dict()
    except Exception as error:
        raise _not_downloaded(f'timm:{name}', error) from error


def open_clip_name(name: str) -> tuple[str, str]:
    """Split `<model>/<tag>`; raises DgssError if open_clip does not list it."""
    import open_clip

    model, _, tag = name.partition('/')
    if tag not in open_clip.list_pretrained_tags_by_model(model):
        raise DgssError(
            f'open_clip has no weights {name!r}; write <model>/<tag> as in '
            'open_clip.list_pretrained().'
        )
    return model, tag


def open_clip_model(name: str) -> Any:
    """The complete CLIP `<model>/<tag>` with its weights, in eval mode."""
    import open_clip

    model, tag = open_clip_name(name)
    try:
        return open_clip.create_model(model, pretrained=tag).eval()
    except Exception as error:
        raise _not_downloaded(f'open_clip:{name}', error) from error


def _not_downloaded(name: str, error: Exception) -> DgssError:
    return DgssError(
        f'{name} could not be loaded ({_reason(error)}); connect to the network once, or give '
        'the path of a local weight file.'
    )


def _reason(error: Exception) -> str:
    return next(iter(str(error).splitlines()), '') or type(error).__name__
