"""`dgss segment`: masks, overlays and an HTML page, for any source of frames."""

from __future__ import annotations

import json
import shutil
import statistics
import sys
import time
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from string import Template

import cv2
import numpy as np

from dgss_core.errors import DgssError
from dgss_core.images.compressed import encode_jpeg
from dgss_core.images.frames import Frame, FrameSource
from dgss_core.images.paint import overlay
from dgss_core.inputs import read_frames
from dgss_core.progress import with_progress
from dgss_core.runtime.backend import silent
from dgss_core.runtime.bundle import open_bundle
from dgss_core.runtime.segmenter import Segmenter

PAGE = 'index.html'
PAGE_TEMPLATE = Path(__file__).with_name('segment_index.html.in')
PAGE_MARK = '<meta name="generator" content="dgss segment">'
FOLDERS = ('masks', 'overlays', 'frames', 'thumbnails')
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
    overlays/NAME.jpg, and index.html to browse them, with its frames and thumbnails. Frames that
    cannot be read are skipped and listed at the end.

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
        0, or 1 if frames were skipped.
    """
    if not 0 <= opacity <= 1:
        raise DgssError(f'opacity is {opacity}; give a value from 0 to 1.')
    failed: list[tuple[str, str]] = []
    frames = read_frames(source, topic, on_error=lambda *failure: failed.append(failure))
    opened = open_bundle(bundle)
    # A network in fp32 runs as it is; for any other the user must see what runs in its place.
    say = silent if opened.manifest.precision == 'fp32' else _say
    segmenter = Segmenter(opened, backend, threads, report=say)
    _prepare(output, Path(source), overwrite)
    result = _Result(frames, segmenter, failed)
    try:
        _segment_all(result, output, opacity)
    except OSError as error:
        raise DgssError(f'{output} cannot be written: {error}; choose another folder.') from error
    return result.report(output)


def _say(line: str) -> None:
    print(line, file=sys.stderr)


def _segment_all(result: _Result, output: Path, opacity: float) -> None:
    segmenter, source = result.segmenter, result.frames
    try:
        with closing(with_progress(source, 'Segmenting', source.length)) as frames:
            for frame in frames:
                started = time.perf_counter()
                mask = segmenter(frame.image).mask
                result.seconds.append(time.perf_counter() - started)
                painted = overlay(frame.image, mask, segmenter.labels, opacity)
                _write_frame(output, frame, mask, painted)
                result.names.append(frame.name)
                result.aspect = result.aspect or frame.image.shape[1::-1]
    finally:
        # After an interruption the finished frames stay useful.
        if result.names:
            (output / PAGE).write_text(result.page())


@dataclass
class _Result:
    """The results of a run so far."""

    frames: FrameSource
    segmenter: Segmenter
    failed: list[tuple[str, str]]
    names: list[str] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    aspect: tuple[int, int] | None = None
    started: float = field(default_factory=time.perf_counter)

    def page(self) -> str:
        labels = self.segmenter.labels
        data = {
            'title': self.frames.path.resolve().name,
            'facts': [
                ('frames', f'{len(self.names)} of a {self.frames.kind}'),
                ('bundle', self.segmenter.bundle.identity),
                ('backend', self.segmenter.backend.identity),
                ('per frame', f'{statistics.median(self.seconds) * 1000:.1f} ms'),
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

    def report(self, output: Path) -> int:
        """Print the outcome and return the exit code; DgssError if no frame could be read."""
        total = len(self.names) + len(self.failed)
        for name, reason in self.failed:
            print(f'{name}: {reason}', file=sys.stderr)
        if not self.names:
            raise DgssError(f'None of {total} frames of {self.frames.path} could be read.')
        elapsed = time.perf_counter() - self.started
        print(
            f'{len(self.names)} of {total} frames in {elapsed:.1f} s '
            f'({len(self.names) / elapsed:.1f} frames/s): {output / PAGE}'
        )
        return 1 if self.failed else 0


def _prepare(output: Path, source: Path, overwrite: bool) -> None:
    """Create the output folder, or remove an earlier result from it.

    Raises DgssError if the folder is in use for something else.
    """
    if output.resolve() == source.resolve() or (output.exists() and not output.is_dir()):
        raise DgssError(f'{output} cannot be the output; name a folder of its own.')
    if output.exists() and any(output.iterdir()):
        page = output / PAGE
        if not overwrite:
            raise DgssError(f'{output} is not empty; choose another folder or pass --overwrite.')
        if not page.is_file() or PAGE_MARK not in page.read_text(errors='replace'):
            raise DgssError(f'{output} holds no earlier result; choose another folder.')
        if output.resolve() in source.resolve().parents:
            raise DgssError(f'{source} lies inside {output}; choose another folder.')
        page.unlink()
        for name in FOLDERS:
            shutil.rmtree(output / name, ignore_errors=True)
    try:
        for name in FOLDERS:
            (output / name).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DgssError(f'{output} cannot be written: {error}; choose another folder.') from error


def _write_frame(output: Path, frame: Frame, mask: np.ndarray, painted: np.ndarray) -> None:
    height = max(1, round(THUMBNAIL_WIDTH * painted.shape[0] / painted.shape[1]))
    thumbnail = cv2.resize(painted, (THUMBNAIL_WIDTH, height), interpolation=cv2.INTER_AREA)
    # imencode, not imwrite, which gives no reason for a failure.
    (output / 'masks' / f'{frame.name}.png').write_bytes(cv2.imencode('.png', mask)[1].tobytes())
    (output / 'overlays' / f'{frame.name}.jpg').write_bytes(encode_jpeg(painted))
    (output / 'frames' / f'{frame.name}.jpg').write_bytes(encode_jpeg(frame.image))
    (output / 'thumbnails' / f'{frame.name}.jpg').write_bytes(encode_jpeg(thumbnail, 80))
