"""Loads models of transformers and diffusers from a folder or from the Hugging Face hub."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from dgss_core.errors import DgssError, one_line, shown

LIBRARIES = {'diffusers', 'transformers'}
"""Libraries whose classes a pipeline may name."""


def library(name: str) -> Any:
    """Import the module `name` of the extra `generate`. Raises DgssError if it is missing."""
    try:
        return import_module(name)
    except ModuleNotFoundError as error:
        raise DgssError(
            f'{error.name} is not installed; run pip install dgss_ros[generate].'
        ) from error


def load(kind: Any, name: str, **options: Any) -> Any:
    """`kind.from_pretrained(name, **options)`; no code of the model is run.

    Raises DgssError if that fails.
    """
    try:
        return kind.from_pretrained(name, trust_remote_code=False, **options)
    except (OSError, ValueError, KeyError, ImportError) as error:
        raise DgssError(
            f'{name} cannot be loaded as {kind.__name__} ({one_line(error)}); give a folder of '
            'such a model, or its name on the hub, with weights as safetensors.'
        ) from error


def load_pipeline(name: str, **options: Any) -> Any:
    """A text-to-image pipeline of diffusers.

    Raises DgssError as `load` does, and for a pipeline with parts of other libraries, which
    diffusers would import.
    """
    diffusers = library('diffusers')
    try:
        parts = diffusers.DiffusionPipeline.load_config(name)
    except (OSError, ValueError, RecursionError) as error:
        raise DgssError(
            f'{name} cannot be loaded as a pipeline of diffusers ({one_line(error)}); give a '
            'folder of one, or its name on the hub.'
        ) from error
    own = set(dir(diffusers.pipelines)) | LIBRARIES
    for part, value in parts.items():
        named = value[0] if isinstance(value, list | tuple) and value else None
        foreign = named is not None and (not isinstance(named, str) or named not in own)
        if foreign or (part == '_class_name' and not isinstance(value, str)):
            raise DgssError(
                f'{name} takes its {one_line(part, 60)} from {shown(value)}, which is no part of '
                'diffusers or transformers; code of a model is not run, choose another one.'
            )
    return load(diffusers.AutoPipelineForText2Image, name, **options)
