"""Weights from timm, open_clip or a local file; they load completely or not at all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from dgss_core.errors import DgssError
from dgss_core.networks.importers.keys import load_exactly
from dgss_core.networks.weight_files import Which, read_file


def read_weights(weights: str | Path, which: Which = 'averaged') -> dict[str, Tensor]:
    """Read a state dict, with floating point tensors as float32 on the CPU.

    `weights` is `timm:<model>[.<tag>]`, `open_clip:<model>/<tag>` (the image tower), or the path
    of a file, of which `which` is taken as in `read_file`. timm and open_clip download and cache
    their weights. Raises DgssError if the weights cannot be read.
    """
    library, _, name = str(weights).partition(':')
    if library == 'timm':
        state = _from_timm(name)
    elif library == 'open_clip':
        state = open_clip_model(name).visual.state_dict()
    else:
        state = read_file(Path(weights), which)
    return {k: v.float() if v.is_floating_point() else v for k, v in state.items()}


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
