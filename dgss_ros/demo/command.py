"""The verb `dgss demo`."""

from __future__ import annotations

import json
from pathlib import Path

from rich.console import Console

from dgss_core.bags import IMAGE_TOPIC, Bag, write_bag
from dgss_core.commands.progress import with_progress
from dgss_core.errors import DgssError, cause
from dgss_core.files import Kind, refuse_replacing, write_whole
from dgss_core.images.compressed import encode_png
from dgss_core.runtime.bundle import open_bundle
from dgss_ros.client.domain import use_private_domain
from dgss_ros.client.process import active_node
from dgss_ros.demo.drive import DemoDrive, find_camvid
from dgss_ros.demo.report import draw_sheet, make_report, print_report, score
from dgss_ros.replay.replay import Drive, by_topic, play_through_node

MARK = '.dgss-demo'
"""Marks the output folder, so that the next run may replace what this one leaves."""
DRIVE, MASKS, LOG, SHEET, REPORT = RESULTS = (
    'drive',
    'masks',
    'node.log',
    'contact_sheet.png',
    'report.json',
)


def demo(
    *,
    output: Path = Path('demo'),
    frames: int = 20,
    seed: int = 0,
    data: Path | None = None,
    bundle: Path | None = None,
) -> None:
    """Run the live node on a drive through all conditions, and score its masks.

    Args:
        output: folder for the bags, the contact sheet and the report
        frames: frames per condition of the synthetic street
        seed: seed of the synthetic street
        data: folder that holds camvid/; by default the environment variable DGSS_DATA
        bundle: bundle to run; the embedded bundle by default
    """
    if frames < 1:
        raise DgssError(f'frames is {frames}; give 1 or more.')
    opened = open_bundle(bundle)
    drive = DemoDrive(find_camvid(data), frames, seed)
    _begin(output)
    drive_bag, mask_bag = output / DRIVE, output / MASKS
    shown = with_progress(drive, 'Writing the drive', len(drive))
    write_bag(drive_bag, shown, overwrite=True)
    use_private_domain()
    with active_node(bundle, output / LOG, IMAGE_TOPIC) as node:
        bag = Bag(drive_bag)
        # A slow machine answers every frame too.
        played = Drive(bag, by_topic(bag, IMAGE_TOPIC), lossless=True)
        answered = play_through_node(node.ros, played, mask_bag, check=node.check)
    scores = score(drive_bag, mask_bag, drive.legs, opened.labels)

    _write(output / SHEET, encode_png(draw_sheet(scores, opened.labels)))
    report = make_report(scores, answered.cameras[0], opened.identity)
    _write(output / REPORT, f'{json.dumps(report, indent=2)}\n'.encode())
    print_report(Console(), report, output)


def _begin(output: Path) -> None:
    """Make and mark the folder. Raises DgssError for a folder that holds files of others."""
    refuse_replacing(output, DEMO, overwrite=True)
    try:
        output.mkdir(parents=True, exist_ok=True)
        (output / LOG).unlink(missing_ok=True)
    except OSError as error:
        raise _unwritable(output, error) from error
    _write(output / MARK, b'')


def _why_no_demo(folder: Path) -> str:
    if not folder.is_dir():
        return 'it is no folder'
    is_demo = (folder / MARK).is_file() or _is_report(folder / REPORT)
    return '' if is_demo else f'it has no {MARK}'


DEMO = Kind('a demo', _why_no_demo)


def _write(path: Path, data: bytes) -> None:
    try:
        write_whole(path, data)
    except OSError as error:
        raise _unwritable(path, error) from error


def _unwritable(path: Path, error: OSError) -> DgssError:
    return DgssError(f'{path} cannot be written ({cause(error)}); choose another --output.')


def _is_report(path: Path) -> bool:
    """Whether a file is a report; earlier versions left no mark."""
    try:
        report = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(report, dict) and {'bundle', 'latency_ms', 'conditions'} <= report.keys()
