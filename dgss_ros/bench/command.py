"""The verb `dgss bench node`: its options and its output."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Literal

from dgss_core.commands.limits import above
from dgss_core.commands.sizes import parse_size
from dgss_core.errors import DgssError, cause
from dgss_core.files import Kind, refuse_file, write_whole
from dgss_core.runtime.bundle import open_bundle
from dgss_ros.bench.scenarios import SCENARIOS, TURNS, Load
from dgss_ros.client.domain import use_private_domain


def node(
    *,
    scenario: Literal['model', 'passthrough', 'cameras', 'overload'] = 'model',
    size: str | None = None,
    rate: float | None = None,
    frames: int | None = None,
    minutes: float | None = None,
    bundle: Path | None = None,
    output: Path | None = None,
) -> None:
    """Measure the node from outside: this process sends frames, the node answers from another.

    A time runs from the publication of a frame to the arrival of its answer, both in this process.
    The compared programs take turns within one run.

    Args:
        scenario: model: round trip, compared with the bare call of the model;
            passthrough: mask and confidence without a model, compared with a bare rclpy node that
            sends the image back (echo) and one that sends two prepared planes;
            cameras: four cameras, 20 ms of inference, two workers;
            overload: 100 ms of inference, far too many frames
        size: size of the frames, WIDTHxHEIGHT
        rate: frames per second of each camera; 0, for model only, publishes the next frame when
            the mask has arrived
        frames: number of frames of each camera
        minutes: duration, instead of a number of frames
        bundle: bundle to run; the embedded bundle by default
        output: JSON file for the figures; those per stream have the names of ros2_benchmark
    """
    usual = SCENARIOS[scenario]
    rate = usual.rate if rate is None else rate
    above(0, minutes=minutes)
    if rate < 0 or (rate == 0 and (scenario != 'model' or minutes is not None)):
        raise DgssError(f'The rate is {rate:g}; give frames per second above 0.')
    if minutes is not None and frames is not None:
        raise DgssError('Give frames or minutes, not both.')
    if minutes is not None:
        frames = int(60 * minutes * rate)
    elif frames is None:
        frames = usual.frames
    if frames < 2 * TURNS:
        raise DgssError(f'{frames} frames are too few; give at least {2 * TURNS}.')
    width, height = parse_size(size or usual.size)
    opened = open_bundle(bundle)
    if output is not None:
        refuse_file(output, FIGURES)
        if not output.parent.is_dir():
            raise DgssError(f'There is no folder {output.parent}; choose another --output.')
    use_private_domain()
    report = usual.measure(Load(width, height, frames, rate, bundle))
    load = {
        'scenario': scenario,
        'bundle': opened.identity,
        'size': f'{width}x{height}',
        'rate_hz': rate,
    }
    if output is not None:
        text = json.dumps(load | report.to_dict(), indent=2)
        try:
            write_whole(output, f'{text}\n'.encode())
        except OSError as error:
            print(text)
            raise DgssError(f'{output} cannot be written ({cause(error)}); see above.') from error
    pace = f'{rate:g} Hz' if rate else 'next frame when the mask has arrived'
    report.print(f'{scenario}: {opened.identity}, {width}x{height}, {pace}')


def _why_no_figures(path: Path) -> str:
    try:
        content = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        return f'it is not JSON: {error}'
    known = isinstance(content, dict) and {'scenario', 'bundle', 'size'} <= content.keys()
    return '' if known else 'it has other keys'


FIGURES = Kind('a result of dgss bench node', _why_no_figures)
