"""CLIP embeddings of class names, cached on disk."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from dgss_core.errors import DgssError, cause
from dgss_core.files import replacing
from dgss_core.files.home import cache_folder
from dgss_core.labels import LabelSet
from dgss_core.networks.encoders.weights import open_clip_model, open_clip_name
from dgss_core.networks.text.prompts import VOID, fill, styled, synonyms, templates

Tokenizer = Callable[[list[str]], Tensor]


class TextTower:
    """The text encoder of an open_clip model, loaded when a text is not in the cache.

    `identity` identifies the weights; towers of equal identity share cached embeddings.
    """

    def __init__(self, load: Callable[[], tuple[Any, Tokenizer]], identity: str) -> None:
        self._load, self.identity = load, identity
        self._loaded: tuple[Any, Tokenizer] | None = None

    @classmethod
    def named(cls, name: str) -> TextTower:
        """The tower of `<model>/<tag>` as in open_clip, for example 'RN50/openai'.

        Raises DgssError for an unknown name.
        """
        import open_clip

        model, _ = open_clip_name(name)

        def load() -> tuple[nn.Module, Tokenizer]:
            return open_clip_model(name), open_clip.get_tokenizer(model)

        return cls(load, name)

    @classmethod
    def of(cls, model: nn.Module, tokenizer: Tokenizer) -> TextTower:
        """The tower of a loaded model; its identity is a hash of the text weights."""
        digest = hashlib.sha256()
        for key, value in sorted(model.state_dict().items()):
            if not key.startswith('visual.'):
                digest.update(key.encode())
                digest.update(value.detach().cpu().float().numpy().tobytes())
        return cls(lambda: (model, tokenizer), digest.hexdigest())

    @torch.no_grad()
    def embed(self, texts: Sequence[str], batch: int = 128) -> Tensor:
        """Embeddings (N,E) of the texts, float32 on the CPU, not normalised."""
        if self._loaded is None:
            self._loaded = self._load()
        model, tokenizer = self._loaded
        device, mode = next(model.parameters()).device, model.training
        model.eval()
        parts = [
            model.encode_text(tokenizer(list(texts[start : start + batch])).to(device))
            for start in range(0, len(texts), batch)
        ]
        model.train(mode)
        return torch.cat(parts).float().cpu()


def name_embeddings(
    tower: TextTower,
    names: Sequence[str],
    template_set: Sequence[str],
    normalise_each: bool,
    cache: Path | None = None,
) -> Tensor:
    """One unit vector (N,E) per name: the mean over the templates, normalised.

    With `normalise_each` each prompt's embedding is normalised before the mean (FC-CLIP, CLOUDS);
    without it, the mean is over CLIP's raw embeddings (FAMix). The result is cached as safetensors
    in `cache`, by default `dgss/text` in the user's cache folder, under a hash of all inputs.
    Raises DgssError if there is no name or no template, or if the cache cannot be written.
    """
    if not names or not template_set:
        raise DgssError('There is nothing to embed; give at least one name and one template.')
    texts = fill(names, template_set)
    content = json.dumps([tower.identity, texts, len(template_set), normalise_each])
    path = (
        cache or cache_folder('text')
    ) / f'{hashlib.sha256(content.encode()).hexdigest()}.safetensors'
    kept = _read(path)
    if kept is not None:
        return kept
    embeddings = tower.embed(texts)
    if normalise_each:
        embeddings = F.normalize(embeddings, dim=-1)
    means = embeddings.unflatten(0, (len(names), len(template_set))).mean(dim=1)
    means = F.normalize(means, dim=-1)
    _write(path, means)
    return means


def famix_embeddings(
    tower: TextTower,
    class_names: Sequence[str],
    style: str | None = None,
    cache: Path | None = None,
) -> Tensor:
    """Targets (C+1,E) of FAMix's style mining: all classes in one style, then the void text."""
    names = [styled(name, style) if style else name for name in class_names]
    return name_embeddings(
        tower, [*names, VOID], templates('imagenet80'), normalise_each=False, cache=cache
    )


def clouds_embeddings(
    tower: TextTower, label_set: LabelSet, cache: Path | None = None
) -> tuple[Tensor, list[int]]:
    """Rows (R,E) for the text classifier of CLOUDS, and the number of rows of each class.

    There is one row per synonym; all rows of class 0 come first.
    """
    words = synonyms(label_set)
    flat = [word for group in words for word in group]
    rows = name_embeddings(tower, flat, templates('vild14'), normalise_each=True, cache=cache)
    return rows, [len(group) for group in words]


def _read(path: Path) -> Tensor | None:
    try:
        return load_file(path)['embeddings']
    except (OSError, SafetensorError, KeyError):
        # A damaged file is written again.
        return None


def _write(path: Path, embeddings: Tensor) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as staging:
            save_file({'embeddings': embeddings.contiguous()}, staging)
    except (OSError, SafetensorError) as error:
        raise DgssError(
            f'Text embeddings cannot be kept in {path.parent} ({cause(error)}); set '
            'XDG_CACHE_HOME to a folder you can write to.'
        ) from None
