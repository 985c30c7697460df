"""Loads models of transformers and diffusers from a folder or from the Hugging Face hub."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from dgss_core.errors import DgssError


def library(name: str) -> Any:
    """Import the module `name` of the extra `generate`. Raises DgssError if it is missing."""
    try:
        return import_module(name)
    except ModuleNotFoundError as error:
        raise DgssError(
            f'{error.name} is not installed; run pip install dgss_ros[generate].'
        ) from error


def load(kind: Any, name: str, **options: Any) -> Any:
    """`kind.from_pretrained(name, **options)`. Raises DgssError if that fails."""
    try:
        return kind.from_pretrained(name, **options)
    except (OSError, ValueError, KeyError, ImportError) as error:
        first = ' '.join(str(error).split())
        raise DgssError(
            f'{name} cannot be loaded as {kind.__name__} ({first}); give a folder of such a '
            'model, or its name on the hub, with weights as safetensors.'
        ) from error
