"""One published file: where it is, what it is, and what may be done with it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal
from urllib.parse import urlsplit

PINS = 'pins.json'
"""File beside the folders of the entries, whose name no entry can have."""
Fetch = Literal['auto', 'manual', 'library']
"""How a file is got: by one GET of its address, by hand, or by the library that knows its name."""


@dataclass(frozen=True)
class Figure:
    """A published mIoU in percent. `data`: set and split. `protocol`: how it was tested."""

    data: str
    miou: float
    protocol: str = 'not stated'


@dataclass(frozen=True)
class PublishedTest:
    """The publisher's test: whole images, or windows of `window` pixels in steps of `stride`."""

    window: int | None = None
    stride: int | None = None

    def __str__(self) -> str:
        if self.window is None:
            return 'whole image'
        return f'windows of {self.window} pixels in steps of {self.stride or self.window}'


@dataclass(frozen=True)
class Checkpoint:
    """An entry of the catalog.

    Attributes:
        name: also the folder of the file in the store; names of files repeat between publishers
        family: stem of its catalog file
        title: of the family, with its paper
        address: of the file; for a manual one of the page that leads to it; for a library
            `timm:<model>` or `open_clip:<model>/<tag>`
        file: name of the file in the store; empty for a library
        fetch: how it is got
        by_hand: for a manual one, the sentence that says what to take from the page
        system: the system that it is a checkpoint of; None for an encoder, and for a layout that
            no importer reads
        obstacle: why it cannot be converted, although its system may be known; empty if it can
        encoder: whether it is an encoder, the base of others
        base: name of the entry with the encoder that the file leaves out
        image_size: side in pixels of the crops of the training, which the position table follows
        labels: label set of its training; None for one that is not part of this package
        mean, std: RGB in 0 to 1, where they differ from those of the system
        options: more options of `build_system`
        weights: which are to be taken of a file that holds averaged and last ones
        size: bytes; None where the publisher does not give it
        digests: the digest, or its first digits, by `sha256`, `git_blob` or `md5`, as published
        trained_on: keys of the data in terms.yaml
        licence: key of the terms of the weights
        code: key of the terms of the publisher's code
        recipe: the publisher's test; None where it was not read
        figures: as published
        source: where address, figures and terms were read
        notes: what goes wrong with this file
        derived: the address was put together from a pattern, not read
    """

    name: str
    family: str
    title: str
    address: str
    file: str = ''
    fetch: Fetch = 'auto'
    by_hand: str = ''
    system: str | None = None
    obstacle: str = ''
    encoder: bool = False
    base: str | None = None
    image_size: int | None = None
    labels: str | None = 'cityscapes19'
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    options: Mapping[str, Any] = field(default_factory=dict)
    weights: Literal['averaged', 'last'] = 'averaged'
    size: int | None = None
    digests: Mapping[str, str] = field(default_factory=dict)
    trained_on: tuple[str, ...] = ()
    licence: str = 'not-stated'
    code: str = 'not-stated'
    recipe: PublishedTest | None = None
    figures: tuple[Figure, ...] = ()
    source: str = ''
    notes: tuple[str, ...] = ()
    derived: bool = False

    @property
    def host(self) -> str:
        return urlsplit(self.address).netloc
