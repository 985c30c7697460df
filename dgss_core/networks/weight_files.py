"""The weights in a file of any origin: inside a training checkpoint, averaged, wrapped."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from torch import Tensor

from dgss_core.errors import DgssError, shown
from dgss_core.networks.tensor_files import is_safetensors, read_tensors, read_torch

Weights = dict[str, Tensor]
Which = Literal['averaged', 'last']
"""Of a file with both: the moving average of the weights, or those of the last step."""

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


def read_file(path: Path, which: Which = 'averaged') -> Weights:
    """Read the weights of a safetensors or torch file, also from inside a training checkpoint.

    `which` decides where a file holds averaged weights beside others, and a warning names both.
    Prefixes of wrappers are removed from the names. Raises DgssError if the file is missing,
    damaged, of another kind, or holds no weights, several sets of them, or only averaged ones
    where the last are asked for.
    """
    if path.is_dir():
        raise DgssError(f'{path} is a folder; give the path of the weight file inside.')
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
    return unwrapped(_chosen(read_torch(path), path, which))


def _chosen(content: Any, path: Path, which: Which) -> Weights:
    """The state dict inside what a training program saved."""
    while not _is_state(content):
        if not isinstance(content, Mapping):
            raise DgssError(f'{path} holds no state_dict; save model.state_dict() to it.')
        content = content[_key(content, path, which)]
    return dict(content)


def _key(content: Mapping[Any, Any], path: Path, which: Which) -> str:
    """The entry of `content` to look into. Raises DgssError if there is none, or several."""
    inside = [key for key, value in content.items() if isinstance(value, Mapping) and value]
    plain = next((key for key in PLAIN if key in inside), None)
    averaged = next((key for key in AVERAGED if key in inside), None)
    if plain and averaged and _is_of_mmengine(content, averaged):
        plain, averaged = averaged, plain
    if plain and averaged:
        kinds = {'averaged': averaged, 'last': plain}
        (other,) = kinds.keys() - {which}
        _log.warning(
            '%s: takes the %s weights (%s), not those of %s; these are for --weights %s.',
            *(path, which, kinds[which], kinds[other], other),
        )
        return kinds[which]
    if averaged and which == 'last':
        raise DgssError(f'{path} holds only averaged weights ({averaged}); leave --weights out.')
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


def _is_of_mmengine(content: Mapping[Any, Any], averaged: str) -> bool:
    """Whether mmengine wrote the file: the averaged weights are then in state_dict.

    Its EMAHook exchanges the two when it saves. A published file may lack `message_hub`; the
    counter of its average remains (mmengine/model/averaged_model.py).
    """
    return 'message_hub' in content or 'steps' in content[averaged]


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
