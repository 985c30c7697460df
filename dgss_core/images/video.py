"""Frames from a video file, with its own time stamps, turn and count, through PyAV (FFmpeg)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from dgss_core.errors import DgssError, read_head, what_it_is, why_not
from dgss_core.images.coded import DECODER, pyav, reason_of
from dgss_core.images.encodings import MAX_PIXELS
from dgss_core.images.frames import FPS, Frame, FrameSource, OnError, period_ns
from dgss_core.images.stills import IMAGE_SUFFIXES
from dgss_core.images.video_frames import Reading
from dgss_core.images.video_stamps import FASTEST

CONTAINERS = (
    'mov,matroska,webm,avi,mpegts,mpeg,mpegvideo,m4v,h264,hevc,ivf,obu,mjpeg,ogg,flv,live_flv,asf,'
    'dv,mxf,nut,gif,yuv4mpegpipe'
)
"""Formats of FFmpeg that hold their pictures themselves; others, as playlists, name files."""
OPTIONS = {'format_whitelist': CONTAINERS, 'max_pixels': str(MAX_PIXELS)}
"""FFmpeg also decodes the start of a file when it opens it."""
KINDS_OF_VIDEO = ('mp4', 'matroska', 'h264')


def video_source(path: Path, fps: float | None, report: OnError) -> FrameSource:
    """Frames of a video, named by their number from 000000, upright and with their time stamps.

    `fps`: even stamps at this rate instead of those of the video; None: its own, or `FPS` if it
    has none. A frame that is damaged, or predicted from a damaged one, is given to `report`, and
    at the end the frames that the header of the file promised and that did not come.

    Raises DgssError for a file that is no video or has no frame, and if PyAV is not installed.
    """
    period = period_ns(FPS if fps is None else fps)
    with _opened(path) as (container, stream):
        length = _length(container, stream)

    def frames() -> Iterator[Frame]:
        with _opened(path) as (container, stream):
            yield from Reading(path, container, stream, report).frames(
                None if fps is None else period
            )

    return FrameSource(path, 'video', length, frames)


@contextmanager
def _opened(path: Path) -> Iterator[tuple[Any, Any]]:
    """The container and its video stream, checked before anything is decoded."""
    try:
        av = pyav(path)
    except DgssError as missing:
        if meaning := why_not(path, *KINDS_OF_VIDEO):
            raise DgssError(f'{path} is {meaning}.') from missing
        raise
    try:
        # A file object and not a name: FFmpeg takes what stands before a colon for a protocol.
        with path.open('rb') as file, _container(file) as container:
            stream = container.streams.best('video')
            if stream is None:
                raise DgssError(f'{path} holds sound but no pictures; give a video.')
            if stream.codec_context is None:
                raise DgssError(
                    f'{path} is damaged, or coded in a way that FFmpeg cannot read; convert it to '
                    'H.264.'
                )
            if not stream.codec_context.width:
                # FFmpeg takes the size back where it is above the limit.
                raise DgssError(
                    f'{path} has pictures of no size, or of more than {MAX_PIXELS} pixels; scale '
                    'the video down.'
                )
            stream.codec_context.options = DECODER
            yield container, stream
    except (OSError, av.error.FFmpegError) as error:
        raise DgssError(_why_no_video(path, error)) from error


def _container(file: BinaryIO) -> Any:
    av = pyav('The video')
    try:
        return av.open(file, options=OPTIONS)
    except UnicodeDecodeError:  # PyAV before 19 reads the texts in a file strictly.
        file.seek(0)
        return av.open(file, options=OPTIONS, metadata_errors='replace')


def _why_no_video(path: Path, error: Exception) -> str:
    head = read_head(path)
    if head.startswith(b'RIFF') or (what_it_is(head) and not what_it_is(head, *KINDS_OF_VIDEO)):
        return (
            f'{path} is a video that is damaged or cut short ({reason_of(error)}); copy or '
            'download it again.'
        )
    if meaning := what_it_is(head):
        return f'{path} is {meaning}.'
    return (
        f'{path} is neither an image ({", ".join(IMAGE_SUFFIXES)}), a bag (.mcap, .db3) nor a '
        f'video that FFmpeg can read ({reason_of(error)}).'
    )


def _length(container: Any, stream: Any) -> int | None:
    if stream.frames:
        return stream.frames
    if container.duration and stream.average_rate and stream.average_rate < FASTEST:
        return round(container.duration * stream.average_rate / 1_000_000)
    return None
