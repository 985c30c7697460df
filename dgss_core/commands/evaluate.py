"""`dgss evaluate`: the scores of a model on data sets and bags, per condition."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import ExitStack, closing
from dataclasses import asdict
from pathlib import Path
from typing import Any, cast

from dgss_core.commands.evaluate_models import (
    labels_of_masks,
    of_bundle,
    of_checkpoint,
    of_masks,
    open_masks,
)
from dgss_core.commands.evaluate_output import print_results
from dgss_core.commands.progress import with_progress
from dgss_core.datasets import build_dataset
from dgss_core.datasets.protocols import Protocol, load_protocol
from dgss_core.datasets.registry import is_copy, takes_protocol_map
from dgss_core.datasets.synthetic import SYNTHETIC
from dgss_core.errors import DgssError
from dgss_core.evaluation import revisit
from dgss_core.evaluation.assembly import FORMAT, Settings, arrays, provenance
from dgss_core.evaluation.bag_frames import BagFrames, BagOptions
from dgss_core.evaluation.conditions import TimeRanges
from dgss_core.evaluation.criteria import exit_code, judge, load_criteria
from dgss_core.evaluation.dataset_frames import DatasetFrames
from dgss_core.evaluation.folder import JUNIT, LINES, REPORT, EvaluationFolder
from dgss_core.evaluation.frames import FrameSet
from dgss_core.evaluation.ood import OodFolder
from dgss_core.evaluation.report import build_report
from dgss_core.evaluation.results import Results, Suite
from dgss_core.evaluation.run import common_label_set, corrupted, run
from dgss_core.evaluation.verdict_files import to_jsonl, to_junit
from dgss_core.labels import LabelSet
from dgss_core.runtime.bundle import open_bundle


def evaluate(
    *,
    output: Path,
    data: list[str] | None = None,
    root: Path | None = None,
    bag: list[Path] | None = None,
    topic: str | None = None,
    labels: str | None = None,
    ood: Path | None = None,
    conditions: Path | None = None,
    estimate_conditions: bool = False,
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
    criteria: Path | None = None,
    against: Path | None = None,
    label_next: int = 0,
    corruptions: list[int] | None = None,
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
        ood: folder of PNGs NAME.png for the frame NAME, 1 for pixels outside the distribution, 0
            inside, 255 unlabelled; the scores tell them apart by the confidence
        conditions: YAML file of time ranges, such as night: [[0, 30]]; by default the topic
            condition beside the images
        estimate_conditions: estimate the condition of every frame from its image, and use it where
            nobody said it
        tolerance: largest difference of the stamps of an image and its labels, in milliseconds
        bundle: bundle to score (default: the embedded bundle)
        checkpoint: checkpoint to score, by torch
        predictions: folder or bag of masks to score
        mask_topic: topic of the masks, if such a bag has several
        mask_labels: label set of these masks, and its file; by default that which the node
            recorded with them, or that of the data
        label_set: label set to score in; by default that of the data
        backend: backend that runs the bundle
        threads: CPU threads, 0 for all cores
        protocol: image sizes of a paper's evaluation; native takes every pixel as labelled
        band: of the boundary IoU, in pixels
        resamples: of the bootstrap intervals
        seed: of the resamples
        criteria: YAML file of bounds, such as mIoU: {night: ">= 0.45"}; they decide the exit code
            too, and criteria.xml (JUnit) and criteria.jsonl are written
        against: a second bundle, to measure in how many pixels both agree
        label_next: write so many frames that are most worth labelling to label_next/, with their
            masks as a draft
        corruptions: severities, 1 to 5, at which the frames are scored under 20 corruptions too;
            each takes twenty times as long as the clean frames, which should be of the day
        overwrite: replace the results in the output folder

    Returns:
        0, or 1 if frames were not scored or a criterion is not met.
    """
    if sum(given is not None for given in (bundle, checkpoint, predictions)) > 1:
        raise DgssError('Give one of --bundle, --checkpoint and --predictions.')
    if not data and not bag:
        raise DgssError('Give what to score on: --data DATASET:SPLIT, or --bag BAG.')
    for name, value, least in (('band', band, 1), ('resamples', resamples, 2)):
        if value < least:
            raise DgssError(f'--{name} is {value}; give at least {least}.')
    given = (root, bundle, against, checkpoint, predictions, conditions, criteria, ood)
    read = [*given, Path(labels) if labels else None, *(bag or [])]
    inputs = [path for path in read if path and path.exists()]
    folder = EvaluationFolder(output, overwrite=overwrite, inputs=inputs)
    bounds = load_criteria(criteria) if criteria is not None else []
    ways, settings = load_protocol(protocol), Settings(band, resamples, seed)
    asked = LabelSet.load(label_set) if label_set is not None else None
    named = LabelSet.load(mask_labels) if mask_labels is not None else None
    masks = open_masks(predictions) if predictions is not None else None
    if named is None and masks is not None:
        named = labels_of_masks(masks, mask_topic)
    options = BagOptions(
        topic,
        labels,
        round(tolerance * 1e6),
        TimeRanges.load(conditions) if conditions is not None else None,
    )
    opened = open_bundle(bundle) if checkpoint is None and masks is None else None
    sets: list[FrameSet] = [_dataset(spec, root, ways) for spec in data or ()]
    of_bags = asked or named or (opened.labels if opened else None)
    for path in bag or ():
        if of_bags is None:
            raise DgssError(f'The labels of {path} may mean anything; give their --label-set.')
        sets.append(BagFrames(path, of_bags, options))
    scored_in = common_label_set(sets, asked)
    with ExitStack() as stack:
        if masks is not None:
            model = of_masks(masks, named or scored_in, mask_topic, options.tolerance_ns)
        elif checkpoint is not None:
            model = of_checkpoint(checkpoint, ways, threads)
        else:
            assert opened is not None
            model = of_bundle(stack, opened, backend, threads, ways)
        second = None
        if against is not None:
            second = of_bundle(stack, open_bundle(against), backend, threads, ways)
        done = run(
            sets,
            model.predictor,
            folder,
            scored_in,
            settings,
            statistics=model.statistics,
            against=second.predictor if second else None,
            ood=OodFolder(ood) if ood is not None else None,
            estimate=estimate_conditions,
            show=_show,
        )
        chosen = []
        if label_next:
            chosen = revisit.label_next(sets, model.predictor, folder, label_next)
        pictures = revisit.report_pictures(sets, model.predictor, folder, done)
        suites: list[Suite] = []
        if corruptions:
            both = [m.predictor for m in (model, second) if m]
            suites = corrupted(sets, both, scored_in, folder, settings, corruptions, _show)
    about = {
        'format': FORMAT,
        **provenance(),
        'against': second.about | {'corruptions': next(iter(suites[1:]), None)}
        if second
        else None,
        'corruptions': next(iter(suites), None),
        'label_next': chosen,
        'live': model.live,
        'predictor': model.about | {'merge': f'{model.predictor.labels.name} to {scored_in.name}'},
        'protocol': ways.title,
        'settings': {
            **asdict(settings),
            'tolerance_ms': tolerance,
            'ignored': options.conditions.ignored() if options.conditions else [],
        },
    }
    results = about | done.results
    results['verdicts'] = judge(bounds, cast('Results', results))
    folder.write(results, arrays(done.frames, scored_in, band))
    if bounds:
        folder.put(JUNIT, to_junit(results['verdicts']))
        folder.put(LINES, to_jsonl(results['verdicts']))
    page = folder.put(REPORT, build_report(results, pictures).encode())
    print_results(results, page)
    failed = any(not problem['is_note'] for problem in results['problems'])
    return 1 if failed or exit_code(results['verdicts']) else 0


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
