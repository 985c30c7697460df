"""Renaming of state-dict keys, and loading without missing or extra weights."""

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from torch import Tensor, nn

from dgss_core.errors import DgssError

Rules = Sequence[tuple[str, str]]
Weights = dict[str, Tensor]


def rename(weights: Weights, rules: Rules, source: str) -> Weights:
    """Rename every key by the first rule (pattern, template) whose pattern matches all of it.

    A rule with an empty template drops the key. Raises DgssError for keys that no rule matches;
    the error names `source`, the expected kind of checkpoint.
    """
    compiled = [(re.compile(pattern), template) for pattern, template in rules]
    renamed, unknown = {}, []
    for key, value in weights.items():
        for pattern, template in compiled:
            found = pattern.fullmatch(key)
            if found:
                if template:
                    renamed[found.expand(template)] = value
                break
        else:
            unknown.append(key)
    if unknown:
        raise DgssError(
            f'This is not {source}: unknown weights {shorten(unknown)}; '
            f'check that the file and the model name belong together.'
        )
    return renamed


def split_attention(weights: Weights) -> Weights:
    """Split `X.in_proj_weight` and `X.in_proj_bias` of torch into X.query, X.key and X.value."""
    split = {}
    for key, value in weights.items():
        found = re.fullmatch(r'(.*)\.in_proj_(weight|bias)', key)
        if not found:
            split[key] = value
            continue
        for part, chunk in zip(('query', 'key', 'value'), value.chunk(3), strict=True):
            split[f'{found[1]}.{part}.{found[2]}'] = chunk.clone()
    return split


@contextmanager
def named(origin: str) -> Iterator[None]:
    """Let an error about weights that are not what was expected name the file they are from."""
    try:
        yield
    except DgssError as error:
        rest = str(error).removeprefix('This is ')
        if rest == str(error):
            raise
        raise DgssError(f'{origin} is {rest}') from error


def take_prefix(weights: Weights, prefix: str) -> Weights:
    """Entries whose key starts with `prefix`, without the prefix."""
    return {k.removeprefix(prefix): v for k, v in weights.items() if k.startswith(prefix)}


def load_exactly(module: nn.Module, weights: Weights, source: str) -> None:
    """Load `weights`; raises DgssError as `refuse_differences` does."""
    refuse_differences(module, weights, source)
    module.load_state_dict(weights)


def refuse_differences(module: nn.Module, weights: Weights, source: str) -> None:
    """Raise DgssError for missing or extra weights and for weights of other shapes."""
    own = module.state_dict()
    faults = {
        'missing': [k for k in own if k not in weights],
        'unexpected': [k for k in weights if k not in own],
        'of another shape': [
            f'{k} {tuple(weights[k].shape)} instead of {tuple(own[k].shape)}'
            for k in own
            if k in weights and weights[k].shape != own[k].shape
        ],
    }
    found = [f'{kind}: {shorten(keys)}' for kind, keys in faults.items() if keys]
    if found:
        raise DgssError(
            f'{source} does not fit this model ({"; ".join(found)}); '
            f'choose the model the file was made for.'
        )


def shorten(names: Sequence[str], limit: int = 3) -> str:
    """The first `limit` names and the number of the others."""
    more = f' and {len(names) - limit} more' if len(names) > limit else ''
    return ', '.join(names[:limit]) + more
