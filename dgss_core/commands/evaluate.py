"""`dgss evaluate`: the scores of a model on data sets and bags, per condition."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterable
from contextlib import ExitStack, closing
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from importlib import import_module
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from dgss_core.bags.bag import is_bag
from dgss_core.commands.progress import with_progress
from dgss_core.datasets import build_dataset
from dgss_core.datasets.protocols import Protocol, load_protocol
from dgss_core.datasets.registry import is_copy, takes_protocol_map
from dgss_core.datasets.synthetic import SYNTHETIC
from dgss_core.errors import DgssError
from dgss_core.evaluation.assembly import FORMAT, Settings, arrays, environment
from dgss_core.evaluation.bag_frames import BagFrames, BagOptions
from dgss_core.evaluation.conditions import TimeRanges
from dgss_core.evaluation.dataset_frames import DatasetFrames
from dgss_core.evaluation.folder import RESULTS, EvaluationFolder
from dgss_core.evaluation.frames import FrameSet
from dgss_core.evaluation.predictors import BagMasks, FolderMasks, Predictor, SegmenterPredictor
from dgss_core.evaluation.results import ALL
from dgss_core.evaluation.run import common_label_set, run
from dgss_core.labels import LabelSet
from dgss_core.runtime.bundle import open_bundle
from dgss_core.runtime.manifest import SourceStatistics
from dgss_core.runtime.segmenter import Segmenter

CHECKPOINTS = 'dgss_core.training.predictor'
"""Where checkpoints are run, by torch: imported only for them."""


def evaluate(
    *,
    output: Path,
    data: list[str] | None = None,
    root: Path | None = None,
    bag: list[Path] | None = None,
    topic: str | None = None,
    labels: str | None = None,
    conditions: Path | None = None,
    tolerance: float = 0.0,
    bundle: Path | None = None,
    checkpoint: Path | None = None,
    predictions: Path | None = None,
    mask_topic: str | None = None,
    mask_labels: str | None = None,
    label_set: str | None = None,
    backend: str = 'auto',
    threads: int = 0,
    protocol: str = 'native',
    band: int = 5,
    resamples: int = 1000,
    seed: int = 0,
    overwrite: bool = False,
) -> int:
    """Score a bundle, a checkpoint or masks on data sets and bags, per condition.

    Writes results.json, and predictions/, which a later run with the same output uses again: an
    interrupted run goes on where it was. Frames that are not scored are counted and listed.

    Args:
        output: folder to write
        data: DATASET, DATASET:SPLIT or DATASET:SPLIT:CONDITION, several if there are; a dataset
            of dgss data check, synthetic, or the path of your own YAML file
        root: folder that holds the folders or zips of the datasets by their names, or the only one
        bag: bags to evaluate on
        topic: image topic, if a bag has several
        labels: topic of the labels, or a folder of PNGs that are named by the stamps in
            nanoseconds or the numbers of the frames; by default the topic labels beside the images
        conditions: YAML file of time ranges, such as night: [[0, 30]]; by default the topic
            condition beside the images
        tolerance: largest difference of the stamps of an image and its labels, in milliseconds
        bundle: bundle to score (default: the embedded bundle)
        checkpoint: checkpoint to score, by torch
        predictions: folder or bag of masks to score
        mask_topic: topic of the masks, if such a bag has several
        mask_labels: label set of these masks, and its file; by default that of the data
        label_set: label set to score in; by default that of the data
        backend: backend that runs the bundle
        threads: CPU threads, 0 for all cores
        protocol: image sizes of a paper's evaluation; native takes every pixel as labelled
        band: of the boundary IoU, in pixels
        resamples: of the bootstrap intervals
        seed: of the resamples
        overwrite: replace the results in the output folder

    Returns:
        0, or 1 if frames were not scored.
    """
    if sum(given is not None for given in (bundle, checkpoint, predictions)) > 1:
        raise DgssError('Give one of --bundle, --checkpoint and --predictions.')
    if not data and not bag:
        raise DgssError('Give what to score on: --data DATASET:SPLIT, or --bag BAG.')
    for name, value, least in (('band', band, 1), ('resamples', resamples, 2)):
        if value < least:
            raise DgssError(f'--{name} is {value}; give at least {least}.')
    given = (root, bundle, checkpoint, predictions, conditions, labels and Path(labels))
    inputs = [path for path in (*given, *(bag or [])) if path and path.exists()]
    folder = EvaluationFolder(output, overwrite=overwrite, inputs=inputs)
    ways, settings = load_protocol(protocol), Settings(band, resamples, seed)
    asked = LabelSet.load(label_set) if label_set is not None else None
    of_masks = LabelSet.load(mask_labels) if mask_labels is not None else None
    options = BagOptions(
        topic,
        labels,
        round(tolerance * 1e6),
        TimeRanges.load(conditions) if conditions is not None else None,
    )
    with ExitStack() as stack:
        model = None
        if predictions is None:
            model = _model(stack, bundle, checkpoint, backend, threads, ways)
        sets: list[FrameSet] = [_dataset(spec, root, ways) for spec in data or ()]
        of_bags = asked or of_masks or (model and model.predictor.labels)
        for path in bag or ():
            if of_bags is None:
                raise DgssError(f'Give the label set of {path} by --label-set.')
            sets.append(BagFrames(path, of_bags, options))
        scored_in = common_label_set(sets, asked)
        if model is None:
            assert predictions is not None
            model = _masks(predictions, of_masks or scored_in, mask_topic, options.tolerance_ns)
        done = run(
            sets,
            model.predictor,
            folder,
            scored_in,
            settings,
            statistics=model.statistics,
            show=_show,
        )
    results = {
        'format': FORMAT,
        'made': datetime.now(timezone.utc).isoformat(timespec='seconds'),
        'command': shlex.join(['dgss', *sys.argv[1:]]),
        'environment': environment(),
        'predictor': model.about | {'merge': f'{model.predictor.labels.name} to {scored_in.name}'},
        'protocol': ways.title,
        'settings': {**asdict(settings), 'tolerance_ms': tolerance},
        **done.results,
    }
    folder.write(results, arrays(done.frames, scored_in, band))
    _print(results, output / RESULTS)
    return 1 if results['problems'] else 0


@dataclass(frozen=True)
class _Model:
    """What predicts. `about`: what the results say of it."""

    predictor: Predictor
    about: dict[str, Any]
    statistics: SourceStatistics | None = None


def _model(
    stack: ExitStack,
    bundle: Path | None,
    checkpoint: Path | None,
    backend: str,
    threads: int,
    ways: Protocol,
) -> _Model:
    if checkpoint is not None:
        predictor = import_module(CHECKPOINTS).CheckpointPredictor(checkpoint, ways, threads)
        about = {'kind': 'checkpoint', 'identity': predictor.identity, 'backend': 'torch'}
        return _Model(predictor, about)
    if ways.window is not None:
        raise DgssError(
            f'The {ways.title} needs --checkpoint: a bundle runs whole images at its own size.'
        )
    opened = open_bundle(bundle)
    segmenter = stack.enter_context(Segmenter(opened, backend, threads, report=_say))
    about = {
        'kind': 'bundle',
        'identity': segmenter.identity,
        'backend': segmenter.backend.identity,
    }
    return _Model(SegmenterPredictor(segmenter), about, opened.manifest.source)


def _masks(path: Path, labels: LabelSet, topic: str | None, tolerance_ns: int) -> _Model:
    if not path.is_dir() and not is_bag(path):
        raise DgssError(f'There are no masks at {path}; give a folder of PNGs, or a bag.')
    predictor: Predictor = (
        BagMasks(path, labels, topic, tolerance_ns) if is_bag(path) else FolderMasks(path, labels)
    )
    return _Model(predictor, {'kind': 'masks', 'identity': predictor.identity, 'backend': None})


def _dataset(spec: str, root: Path | None, ways: Protocol) -> DatasetFrames:
    """A data set as DATASET[:SPLIT[:CONDITION]]."""
    name, *rest = spec.split(':')
    if len(rest) > 2:
        raise DgssError(f'{spec} is not DATASET, DATASET:SPLIT or DATASET:SPLIT:CONDITION.')
    split, condition = (*rest, None, None)[:2]
    options: dict[str, Any] = {'condition': condition} if condition else {}
    if is_copy(name):
        options['labelled'] = False
        if takes_protocol_map(name):
            options['mapping'] = ways.map
    elif condition and name == SYNTHETIC:
        options = {'conditions': (condition,)}
    where = root
    if root is not None and (root / Path(name).stem).exists():
        where = root / Path(name).stem
    dataset = build_dataset(name, where, split or None, **options)
    return DatasetFrames(dataset, ways.view(Path(name).stem))


def _show(items: Iterable[Any], title: str, count: int) -> Iterable[Any]:
    with closing(with_progress(items, title, count)) as shown:
        yield from shown


def _say(line: str) -> None:
    print(line, file=sys.stderr)


def _print(results: dict[str, Any], path: Path) -> None:
    table = Table(box=None)
    for column in ('condition', 'frames', 'mIoU', '95 %', 'boundary IoU', 'ECE', 'AUROC'):
        table.add_column(column, justify='left' if column == 'condition' else 'right')
    for name, found in results['conditions'].items():
        if name == ALL and len(results['conditions']) == 2:
            continue  # It repeats the only condition.
        interval = found.get('intervals', {}).get('miou')
        table.add_row(
            name,
            str(found['frames']),
            _percent(found['miou']),
            '-'.join(map(_percent, interval)) if interval else '',
            *(_percent(found[key]) for key in ('boundary_iou', 'ece', 'auroc')),
        )
    console = Console(markup=False, highlight=False)
    console.print(table)
    console.print(
        f'{results["predictor"]["identity"]} in {results["label_set"]["name"]}, '
        f'{results["protocol"]}: {path}',
        soft_wrap=True,
    )
    for problem in results['problems']:
        frames = ', '.join(problem['frames'][:3]) + (', ...' if problem['count'] > 3 else '')
        _say(f'{problem["count"]} x {problem["what"]} ({frames})')


def _percent(value: float | None) -> str:
    return '' if value is None else f'{100 * value:.1f}'
