"""`dgss evaluate`: the scores of a model on data sets and bags, per condition."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import cast

from dgss_core.bags.below import bags_at
from dgss_core.commands.evaluate_fleet import Fleet, Scored, run_fleet, run_here
from dgss_core.commands.evaluate_job import (
    Job,
    Predicting,
    Reading,
    refuse_for_several_bags,
    refuse_repeated,
)
from dgss_core.commands.evaluate_models import labels_of_masks, open_masks
from dgss_core.commands.evaluate_output import print_results
from dgss_core.commands.limits import at_least, refuse_useless
from dgss_core.commands.progress import say
from dgss_core.datasets.protocols import load_protocol
from dgss_core.errors import DgssError
from dgss_core.evaluation import revisit
from dgss_core.evaluation.assembly import FORMAT, Settings, arrays, provenance
from dgss_core.evaluation.bag_frames import BagFrames, BagOptions
from dgss_core.evaluation.conditions import TimeRanges
from dgss_core.evaluation.corruption_suite import SuiteOptions
from dgss_core.evaluation.criteria import Criterion, exit_code, judge, load_criteria
from dgss_core.evaluation.exports.write import Format, check_exports, write_exports
from dgss_core.evaluation.folder import JUNIT, LINES, REPORT, EvaluationFolder
from dgss_core.evaluation.frames import Problems
from dgss_core.evaluation.ood import OodFolder
from dgss_core.evaluation.report import build_report
from dgss_core.evaluation.results import Results
from dgss_core.evaluation.run import common_label_set
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
    export: list[Format] | None = None,
    workers: int = 0,
    address: str | None = None,
    gpus: float = 0.0,
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
        bag: bags to evaluate on, or folders that hold them
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
        export: write images, masks, labels and scores of all frames for Rerun, FiftyOne or
            Foxglove too, to the folder of that name
        workers: processes that evaluate the bags and data sets side by side, each of them a whole
            one; 0 evaluates them one after the other, and with --address as many as there is room
        address: of a cluster of Ray that evaluates them: HOST:PORT, auto for the one that runs
            here, or local to start one on this machine
        gpus: of each worker on Ray, such as 1 or 0.5
        overwrite: replace the results in the output folder

    Returns:
        0, or 1 if frames were not scored or a criterion is not met.
    """
    if sum(given is not None for given in (bundle, checkpoint, predictions)) > 1:
        raise DgssError('Give one of --bundle, --checkpoint and --predictions.')
    if not data and not bag:
        raise DgssError('Give what to score on: --data DATASET:SPLIT, or --bag BAG.')
    at_least(0, workers=workers, threads=threads)
    at_least(0, seed=seed, tolerance=tolerance, label_next=label_next)
    at_least(1, band=band)
    at_least(2, resamples=resamples)
    refuse_useless(
        ('bag', bag),
        {'topic': topic, 'labels': labels, 'conditions': conditions, 'tolerance': tolerance},
    )
    refuse_useless(('data', data), {'root': root})
    refuse_useless(
        ('predictions', predictions), {'mask-topic': mask_topic, 'mask-labels': mask_labels}
    )
    if corruptions:
        SuiteOptions(severities=corruptions)
        if predictions is not None:
            raise DgssError(
                '--corruptions changes the images, and --predictions were made from others; give '
                'what predicts, --bundle or --checkpoint.'
            )
    given = (root, bundle, against, checkpoint, predictions, conditions, criteria, ood)
    read = [*given, Path(labels) if labels else None, *(bag or [])]
    inputs = [path for path in read if path and os.path.exists(path)]
    folder = EvaluationFolder(output, overwrite=overwrite, inputs=inputs)
    check_exports(export or [], output)
    bounds = load_criteria(criteria) if criteria is not None else []
    ways, settings = load_protocol(protocol), Settings(band, resamples, seed, estimate_conditions)
    asked = LabelSet.load(label_set) if label_set is not None else None
    named = LabelSet.load(mask_labels) if mask_labels is not None else None
    if named is None and predictions is not None:
        named = labels_of_masks(open_masks(predictions), mask_topic)
    options = BagOptions(
        topic,
        labels,
        round(tolerance * 1e6),
        TimeRanges.load(conditions) if conditions is not None else None,
    )
    of_bags = asked or named
    if of_bags is None and checkpoint is None and predictions is None:
        of_bags = open_bundle(bundle).labels
    sources = [*(data or ()), *(one for path in bag or () for one in bags_at(path))]
    refuse_repeated(sources)
    if len(sources) > len(data or ()) + 1:
        refuse_for_several_bags(predictions, ood, labels)
    reading = Reading(root, ways, options, of_bags)
    models = Predicting(
        bundle, checkpoint, predictions, against, mask_topic, named, backend, threads
    )
    fleet = Fleet(workers, address, gpus)
    sets = [] if fleet.is_asked else [reading.frames(source) for source in sources]
    labelled = any(isinstance(frames, BagFrames) and frames.has_labels for frames in sets)
    if labelled and of_bags is not None and asked is None:
        say(f'Labels in bags are read as {of_bags.name}; give --label-set if they differ.')
    found = reading.label_sets(sources) if fleet.is_asked else [one.label_set for one in sets]
    scored_in = common_label_set(found, asked)
    unusual = OodFolder(ood) if ood is not None else None
    job = Job(reading, models, folder, scored_in, settings, unusual, corruptions or [])
    scored = run_fleet(job, sources, fleet) if fleet.is_asked else run_here(job, sets)
    return _finish(job, scored, bounds, label_next, export or [])


def _finish(
    job: Job,
    scored: Scored,
    bounds: Sequence[Criterion],
    to_label: int,
    formats: Sequence[Format],
) -> int:
    """Write and print the results; returns the exit code."""
    folder, done, options = job.folder, scored.done, job.reading.options
    model, *others = scored.models
    clean, compared = (*scored.suites, None, None)[:2]
    chosen, problems = list[str](), Problems()
    if to_label:
        try:
            chosen = revisit.label_next(scored.sets, model.labels, folder, done, to_label)
        except DgssError as error:
            problems.add(str(error))
    pictures = revisit.report_pictures(scored.sets, model.labels, done)
    about = {
        'format': FORMAT,
        **provenance(),
        'against': others[0].about | {'corruptions': compared} if others else None,
        'corruptions': clean,
        'label_next': chosen,
        'live': model.live,
        'predictor': model.about | {'merge': f'{model.labels.name} to {done.label_set.name}'},
        'protocol': job.reading.protocol.title,
        'settings': {
            **asdict(job.settings),
            'tolerance_ms': options.tolerance_ns / 1e6,
            'ignored': options.conditions.ignored() if options.conditions else [],
        },
    }
    results = about | done.results
    results['problems'] += [problem.to_dict() for problem in problems]
    results['verdicts'] = judge(bounds, cast('Results', results))
    folder.write(results, arrays(done.frames, done.label_set, job.settings.band))
    if bounds:
        folder.put(JUNIT, to_junit(results['verdicts']))
        folder.put(LINES, to_jsonl(results['verdicts']))
    page = folder.put(REPORT, build_report(results, pictures).encode())
    print_results(results, page)
    for written in write_exports(formats, folder.path, scored.sets, model.labels, done):
        print(written)
    failed = any(not problem['is_note'] for problem in results['problems'])
    return 1 if failed or exit_code(results['verdicts']) else 0
