"""Prompts: class names, synonyms and styles in templates."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

from dgss_core.documents import read_yaml
from dgss_core.errors import unknown
from dgss_core.labels import LabelSet

VOID = 'photo'
"""FAMix's word for a patch without a class."""


@cache
def templates(name: str) -> tuple[str, ...]:
    """Templates with one `{}` each: 'imagenet80' (OpenAI's CLIP), 'vild14' or 'plain'.

    Raises DgssError for another name.
    """
    if name == 'plain':
        return ('{}',)
    if name == 'imagenet80':
        from open_clip import OPENAI_IMAGENET_TEMPLATES

        return tuple(template('{}') for template in OPENAI_IMAGENET_TEMPLATES)
    sets = _data('prompts')
    if name not in sets:
        raise unknown('prompt set', name, ('imagenet80', *sets, 'plain'))
    return tuple(sets[name])


@cache
def styles() -> tuple[str, ...]:
    """The 20 styles of FAMix without the word "style"."""
    return tuple(_data('styles'))


def styled(class_name: str, style: str) -> str:
    """The text that FAMix puts into templates, for example 'Urban Grit style road'."""
    return f'{style} style {class_name}'


def synonyms(label_set: LabelSet) -> list[list[str]]:
    """Words for each class, in the order of ids; a class without synonyms has its own name."""
    known = _data('synonyms')
    return [list(known.get(name, [name])) for name in label_set.names]


def fill(names: Sequence[str], template_set: Sequence[str]) -> list[str]:
    """Every name in every template; all templates of the first name come first."""
    return [template.format(name) for name in names for template in template_set]


@cache
def _data(name: str) -> Any:
    return read_yaml(Path(__file__).parent / 'data' / f'{name}.yaml')
