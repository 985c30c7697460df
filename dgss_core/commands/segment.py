"""`dgss segment`: masks, overlays and an HTML page, for any source of frames."""

from __future__ import annotations

import json
import os
import statistics
import sys
import time
from contextlib import closing, suppress
from dataclasses import dataclass, field
from pathlib import Path
from string import Template

import numpy as np

from dgss_core.commands.limits import at_least
from dgss_core.commands.progress import say, with_progress
from dgss_core.commands.segment_output import FOLDERS, PAGE, refuse_output, result_folder
from dgss_core.errors import DgssError, IncompleteError, cause, plural
from dgss_core.files import NEW, flush_tree, staging_folder, write_whole
from dgss_core.images.compressed import encode_jpeg, encode_png
from dgss_core.images.frames import Frame, FrameSource
from dgss_core.images.paint import overlay, thumbnail
from dgss_core.images.view import nearest
from dgss_core.inputs import read_frames
from dgss_core.runtime.bundle import open_bundle
from dgss_core.runtime.pipeline import (
    WriteBehind,
    in_threads,
    lanes_for,
    opencv_in_one_thread,
    read_ahead,
)
from dgss_core.runtime.prediction import Prediction
from dgss_core.runtime.segmenter import Segmenter

PAGE_TEMPLATE = Path(__file__).with_name('segment_index.html.in')
OVERLAY_WIDTH = 1280
"""Pixels at most: what a screen shows. Larger overlays would take longer than the network."""
THUMBNAIL_WIDTH = 320


def segment(
    source: Path,
    *,
    output: Path,
    bundle: Path | None = None,
    topic: str | None = None,
    backend: str = 'auto',
    threads: int = 0,
    opacity: float = 0.5,
    overwrite: bool = False,
) -> int:
    """Segment an image, a folder of images, a video or a bag.

    Writes masks/NAME.png (8-bit ids of the bundle's labels, at the size of the frame),
    overlays/NAME.jpg (at most 1280 pixels wide), and index.html to browse them, with its frames
    and thumbnails. Frames that cannot be read are skipped and listed at the end. Ctrl-C keeps the
    finished frames.

    Args:
        source: image, folder of images, video, or bag folder or file
        output: folder to write to
        bundle: bundle folder (default: the embedded bundle)
        topic: image topic, if a bag has several
        backend: backend that runs the network
        threads: CPU threads, 0 for all cores
        opacity: opacity of the colours in the overlays, 0 to 1
        overwrite: replace an earlier result in the output folder

    Returns:
        0, or 1 if frames were skipped or the source holds less than it promised.
    """
    at_least(0, threads=threads)
    if not 0 <= opacity <= 1:
        raise DgssError(f'opacity is {opacity}; give a value from 0 to 1.')
    failed: list[tuple[str, DgssError]] = []
    frames = read_frames(
        source, topic, labelled=False, on_error=lambda *failure: failed.append(failure)
    )
    if frames.note:
        say(frames.note)
    opened = open_bundle(bundle)
    refuse_output(output, Path(source), overwrite)  # To load a network may take minutes.
    # A network in fp32 runs as it is; for any other the user must see what runs in its place.
    report = None if opened.manifest.precision == 'fp32' else say
    segmenter = Segmenter(opened, backend, threads, report=report, lanes=lanes_for(threads))
    result = Result(frames, segmenter, failed)
    try:
        with result_folder(output, Path(source), overwrite, result.page()) as folder:
            segment_all(result, folder, opacity)
    except OSError as error:
        raise DgssError(
            f'{output} cannot be written: {cause(error)}; {result.kept(output)}free some room, or '
            'choose another folder.'
        ) from error
    if result.interrupted:
        print(f'Finished {plural(len(result.names), "frame")}: {output / PAGE}', file=sys.stderr)
        raise KeyboardInterrupt
    return result.report(output)


def segment_all(result: Result, output: Path, opacity: float) -> None:
    """Write every frame, and the page also when it stops early; KeyboardInterrupt is kept."""
    segmenter, source = result.segmenter, result.frames
    result.place = output

    def predict(entry: tuple[Frame, np.ndarray]) -> tuple[Frame, Prediction, float]:
        return entry[0], *segmenter.timed(entry[1])

    def write(staging: Path, frame: Frame, answer: Prediction) -> None:
        shown = thumbnail(frame.image, min(frame.image.shape[1], OVERLAY_WIDTH))
        painted = overlay(shown, _fitted(answer.mask, shown), segmenter.labels, opacity)
        mask = _fitted(answer.mask, frame.image)
        _write_frame(output, staging / NEW, frame, mask, painted)
        result.names.append(frame.name)

    try:
        ahead = read_ahead(source, lambda frame: segmenter.prepare(frame.image))
        answers = in_threads(predict, ahead, segmenter.lanes)
        with (
            opencv_in_one_thread(),
            staging_folder(output) as staging,
            closing(ahead),
            closing(answers),
            WriteBehind() as writer,
            closing(with_progress(answers, 'Segmenting', source.length)) as frames,
        ):
            for frame, answer, seconds in frames:
                result.seconds.append(seconds)
                result.aspect = result.aspect or frame.image.shape[1::-1]
                writer.put(write, staging, frame, answer)
        result.is_part = False
    except KeyboardInterrupt:
        if not result.names:
            raise
        result.interrupted = True
    except (OSError, DgssError):
        # On a full disk there may be no room for this page; the one from the start is there.
        with suppress(OSError):
            write_whole(output / PAGE, result.page().encode())
        raise
    result.require_frames()
    flush_tree(output)
    write_whole(output / PAGE, result.page().encode())


@dataclass
class Result:
    """The results of a run so far. `is_part`: it has not come to the end of its source."""

    frames: FrameSource
    segmenter: Segmenter
    failed: list[tuple[str, DgssError]]
    names: list[str] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    aspect: tuple[int, int] | None = None
    started: float = field(default_factory=time.perf_counter)
    is_part: bool = True
    interrupted: bool = False
    place: Path | None = None
    """The folder that is written to: the output, or what takes its place at the end."""

    def page(self) -> str:
        labels = self.segmenter.labels
        part = ', a part: the run has not ended' if self.is_part else ''
        pace = f'{statistics.median(self.seconds) * 1000:.1f} ms' if self.seconds else 'none yet'
        data = {
            'title': self.frames.path.resolve().name,
            'facts': [
                ('frames', f'{len(self.names)} of a {self.frames.kind}{part}'),
                ('bundle', self.segmenter.identity),
                ('backend', self.segmenter.backend.identity),
                ('per frame', pace),
                ('labels', labels.name),
            ],
            'labels': [(label.name, f'rgb{label.color}') for label in labels.labels],
            'aspect': ' / '.join(map(str, self.aspect or ())),
            'frames': self.names,
            'failed': self.failed,
        }
        # The JSON is embedded in HTML: no tag may open inside it.
        text = json.dumps(data, default=str).replace('<', r'\u003c')
        return Template(PAGE_TEMPLATE.read_text()).substitute(data=text)

    def kept(self, output: Path) -> str:
        """What is left in `output` after an error, as a part of a sentence."""
        if self.place not in (None, output):
            return 'the earlier result in it stays; '
        return f'finished in it: {plural(len(self.names), "frame")}; ' if self.names else ''

    @property
    def total(self) -> int:
        """Frames that the source held or promised."""
        lost = (e.missing if isinstance(e, IncompleteError) else 1 for _, e in self.failed)
        return len(self.names) + sum(lost)

    def require_frames(self) -> None:
        """Raise DgssError if no frame could be read."""
        if not self.names:
            self._print_failed()
            raise DgssError(f'None of {self.total} frames of {self.frames.path} could be read.')

    def report(self, output: Path) -> int:
        """Print the outcome and return the exit code."""
        self._print_failed()
        elapsed = time.perf_counter() - self.started
        print(
            f'{len(self.names)} of {self.total} frames in {elapsed:.1f} s '
            f'({len(self.names) / elapsed:.1f} frames/s): {output / PAGE}'
        )
        return 1 if self.failed else 0

    def _print_failed(self) -> None:
        for name, reason in self.failed:
            print(f'{name}: {reason}', file=sys.stderr)


def _fitted(mask: np.ndarray, image: np.ndarray) -> np.ndarray:
    """A mask of the network at the size of an image."""
    return nearest(mask, width=image.shape[1], height=image.shape[0])


def _write_frame(
    output: Path, staging: Path, frame: Frame, mask: np.ndarray, painted: np.ndarray
) -> None:
    # The mask comes last: a frame with a mask is complete.
    for name, data in (
        ('overlays', encode_jpeg(painted)),
        ('frames', frame.jpeg or encode_jpeg(frame.image)),
        ('thumbnails', encode_jpeg(thumbnail(painted, THUMBNAIL_WIDTH), 80)),
        ('masks', encode_png(mask)),
    ):
        # Flushed once at the end: every file on its own would take as long as the network.
        (staging / name).write_bytes(data)
        os.replace(staging / name, output / name / f'{frame.name}{FOLDERS[name]}')
