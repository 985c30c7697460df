"""The weights in a file of any origin: inside a training checkpoint, averaged, wrapped."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from dgss_core.errors import DgssError, shown
from dgss_core.networks.tensor_files import is_safetensors, read_tensors, read_torch

Weights = dict[str, Tensor]

CHECKPOINT = 'dgss-checkpoint/1'
"""Schema of our own checkpoints."""

PLAIN = (
    *('state_dict', 'model_state_dict', 'model_state', 'model', 'module', 'net', 'network'),
    *('params', 'weights', 'student'),
)
AVERAGED = (
    *('state_dict_ema', 'model_ema', 'ema_state_dict', 'model_ema_state_dict', 'ema_model'),
    *('ema', 'params_ema', 'teacher'),
)
"""Keys under which training programs store the weights, and their moving average."""

WRAPPERS = ('module.', 'model.', 'net.', 'network.')
"""Prefixes that DDP, Lightning and other wrappers put before every name."""
INNER = re.compile(r'(?:^|(?<=\.))(?:_orig_mod|_fsdp_wrapped_module|_checkpoint_wrapped_module)\.')
"""Parts of a name that torch.compile, FSDP and activation checkpointing add."""
COUNTERS = {'n_averaged', 'steps'}
"""Beside the weights in an average of torch and of mmengine."""

_log = logging.getLogger(__name__)


def read_file(path: Path) -> Weights:
    """Read the weights of a safetensors or torch file, also from inside a training checkpoint.

    The averaged weights are taken where a file holds them beside others, and a warning is logged.
    Prefixes of wrappers are removed from the names. Raises DgssError if the file is missing,
    damaged, of another kind, or holds no weights or several sets of them.
    """
    if not path.is_file():
        raise DgssError(
            f'There is no weight file {path}; give the path of a safetensors or torch file, '
            'timm:<model>, or open_clip:<model>/<tag>.'
        )
    if is_safetensors(path):
        metadata, tensors = read_tensors(path)
        if metadata.get('schema') == CHECKPOINT:
            raise DgssError(
                f'{path} is a checkpoint of this package already; give it as start of a recipe, '
                'or to dgss export.'
            )
        return unwrapped(tensors)
    return unwrapped(_chosen(read_torch(path), path))


def _chosen(content: Any, path: Path) -> Weights:
    """The state dict inside what a training program saved."""
    while not _is_state(content):
        if not isinstance(content, Mapping):
            raise DgssError(f'{path} holds no state_dict; save model.state_dict() to it.')
        content = content[_key(content, path)]
    return dict(content)


def _key(content: Mapping[Any, Any], path: Path) -> str:
    """The entry of `content` to look into. Raises DgssError if there is none, or several."""
    inside = [key for key, value in content.items() if isinstance(value, Mapping) and value]
    plain = next((key for key in PLAIN if key in inside), None)
    averaged = next((key for key in AVERAGED if key in inside), None)
    # mmengine exchanges the two when it saves: the averaged weights are in state_dict.
    if plain and averaged and 'message_hub' in content:
        plain, averaged = averaged, plain
    if plain and averaged:
        _log.warning(
            '%s: takes the averaged weights (%s), not those of %s.', path, averaged, plain
        )
    if key := averaged or plain:
        return key
    states = [key for key in inside if _is_state(content[key])]
    if len(states) == 1:
        return states[0]
    if states:
        names = ', '.join(shown(key) for key in states[:5])
        raise DgssError(
            f'{path} holds several sets of weights ({names}); save the right one alone.'
        )
    stray = next((key for key, value in content.items() if not isinstance(value, Tensor)), None)
    reason = 'it is empty' if stray is None else f'{shown(stray)} is no tensor'
    raise DgssError(f'{path} holds no state_dict ({reason}); save model.state_dict() to it.')


def _is_state(content: Any) -> bool:
    return (
        isinstance(content, Mapping)
        and len(content) > 0
        and all(isinstance(k, str) and isinstance(v, Tensor) for k, v in content.items())
    )


def unwrapped(weights: Weights) -> Weights:
    """The weights under the names that they have in the model itself."""
    weights = {INNER.sub('', key): value for key, value in weights.items()}
    below = [key for key in weights if key not in COUNTERS]
    if len(below) < len(weights) and below and all(key.startswith('module.') for key in below):
        weights = {key: weights[key] for key in below}
    for prefix in WRAPPERS * 2:
        if all(key.startswith(prefix) for key in weights):
            weights = {key.removeprefix(prefix): value for key, value in weights.items()}
    return weights
