"""What the terms of weights, and of the data they were trained on, allow a company."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from dgss_core.documents import read_yaml

TERMS = Path(__file__).with_name('terms.yaml')
COMMERCIAL = ('allowed', 'conditions', 'unknown', 'forbidden')
"""What a company may do, from free to nothing."""


@dataclass(frozen=True)
class Terms:
    """`commercial`: one of `COMMERCIAL`. `means`: the terms in one phrase."""

    title: str
    commercial: str
    means: str

    def __str__(self) -> str:
        return f'{self.title}: {self.means}'


@cache
def licences() -> Mapping[str, Terms]:
    """The licences of weights and code, by their keys in the catalog."""
    content = read_yaml(TERMS)['licences']
    return {key: Terms(**entry) for key, entry in content.items()}


@cache
def data_terms() -> Mapping[str, Terms]:
    """The licences of training data, by their keys in the catalog."""
    content = read_yaml(TERMS)['data']
    return {
        key: Terms(entry['title'], entry['commercial'], entry['licence'])
        for key, entry in content.items()
    }


def strictest(kinds: Iterable[str]) -> str:
    """The one of `COMMERCIAL` that allows the least; 'allowed' of none."""
    return max(kinds, key=COMMERCIAL.index, default=COMMERCIAL[0])
