"""Published systems as their libraries build them: layouts, weights by a formula, records.

A record is a JSON file with the names and shapes of a small network of a library, and samples of
its answer to an image. Weights and image are a formula, so that a record needs no library.
"""

from __future__ import annotations

import json
import math
import zlib
from pathlib import Path

import numpy as np
import torch
from formula_weights import image
from torch import Tensor, nn

from dgss_core.commands.convert import convert_file
from dgss_core.labels import Label, LabelSet
from dgss_core.networks.checkpoint import load_checkpoint
from dgss_core.networks.conversion import encoder_options, head_sizes
from dgss_core.networks.importers.keys import Weights, load_exactly, take_prefix
from dgss_core.networks.systems import SegmentationModel, build_system
from dgss_core.networks.systems.importers import import_system

RECORDS = Path(__file__).parents[1] / 'networks' / 'importers' / 'records'
SAMPLES = 48


def by_formula(name: str, shape: tuple[int, ...]) -> Tensor:
    """Weights that depend on their name alone; scales and variances are near 1, masks off."""
    if name.endswith(('num_batches_tracked', 'attn_mask_probs')):
        return torch.zeros(shape)
    places = torch.arange(math.prod(shape), dtype=torch.float64)
    wave = (0.7 * places * places + places + zlib.crc32(name.encode()) % 1000).sin()
    wave = wave.view(shape).float()
    if len(shape) > 1:
        return wave * (3 / math.prod(shape[1:])) ** 0.5
    scale = ('norm' in name or 'bn' in name) and name.endswith('weight')
    return 0.1 * wave + (scale or name.endswith(('lambda1', 'gamma', 'running_var')))


def as_published(model: nn.Module) -> Weights:
    """Weights of a network of transformers, by the names that its published files have."""
    from transformers.core_model_loading import revert_weight_conversion

    return revert_weight_conversion(model, model.state_dict())


@torch.no_grad()
def fill(weights: Weights) -> None:
    """Set the weights of a library's network, by their published names, to the formula."""
    for name, value in weights.items():
        if value.is_floating_point():
            value.copy_(by_formula(name, tuple(value.shape)))


def labels(classes: int) -> LabelSet:
    return LabelSet('few', tuple(Label(i, f'class{i}', (0, 0, i)) for i in range(classes)))


def converted(
    weights: Weights, system: str, folder: Path, classes: int, **sizes
) -> SegmentationModel:
    """The model that `dgss convert` makes of a file with these weights."""
    torch.save(weights, folder / 'theirs.bin')
    output = folder / 'ours.safetensors'
    output.unlink(missing_ok=True)
    output.with_suffix('.json').unlink(missing_ok=True)
    convert_file(folder / 'theirs.bin', system, output, None, labels(classes), **sizes)
    return load_checkpoint(output)


@torch.no_grad()
def answer(model: SegmentationModel, height: int, width: int) -> Tensor:
    """Scores of our model for an image that is normalised already."""
    return model.scores(model.encoder(image(1, height, width)))


def query_scores(classes: Tensor, masks: Tensor) -> Tensor:
    """Scores of each class from the logits of queries, as every library computes them."""
    return torch.einsum('bqc,bqhw->bchw', classes.softmax(-1)[..., :-1], masks.sigmoid())


def sampled(scores: Tensor) -> np.ndarray:
    return scores.flatten()[:: max(1, scores.numel() // SAMPLES)][:SAMPLES].numpy()


def shapes_of(weights: Weights) -> dict[str, list[int]]:
    return {name: list(value.shape) for name, value in sorted(weights.items())}


def check_record(name: str, weights: Weights, scores: Tensor) -> None:
    """Compare the record `name` with what the library gives. Fails after writing an absent one."""
    path = RECORDS / f'{name}.json'
    shapes = shapes_of(weights)
    if not path.exists():
        found = [round(value, 6) for value in sampled(scores).tolist()]
        lines = [f'    {json.dumps(key)}: {json.dumps(shape)}' for key, shape in shapes.items()]
        content = f'{{\n  "scores": {json.dumps(found)},\n  "shapes": {{\n'
        path.write_text(content + ',\n'.join(lines) + '\n  }\n}\n')
        raise AssertionError(f'{path} was absent and is written; check it and run again')
    record = json.loads(path.read_text())
    assert record['shapes'] == shapes
    np.testing.assert_allclose(sampled(scores), record['scores'], atol=1e-4, rtol=1e-4)


def recorded(name: str) -> tuple[Weights, np.ndarray]:
    """The weights of a recorded network, and samples of its answer."""
    record = json.loads((RECORDS / f'{name}.json').read_text())
    weights = {key: by_formula(key, tuple(shape)) for key, shape in record['shapes'].items()}
    return weights, np.array(record['scores'])


def fits(system: str, weights: Weights, base: Weights | None = None) -> SegmentationModel:
    """The full-size system on the meta device, after `weights` were loaded into it completely."""
    imported = import_system(system, weights, base)
    imported = {key: value.to('meta') for key, value in imported.items()}
    options = encoder_options(system, imported)
    sizes = head_sizes(imported)
    with torch.device('meta'):
        model = build_system(system, encoder_options=options, **sizes)
    fitted = model.encoder.resample(take_prefix(imported, 'encoder.'))
    whole = imported | {f'encoder.{key}': value for key, value in fitted.items()}
    load_exactly(model, whole, 'the layout')
    return model
