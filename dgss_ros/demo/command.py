"""The verb `dgss demo`."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
from rich.console import Console

from dgss_core.bags import IMAGE_TOPIC, write_bag
from dgss_core.commands.progress import with_progress
from dgss_core.errors import DgssError
from dgss_core.runtime.bundle import open_bundle
from dgss_ros.client.domain import use_private_domain
from dgss_ros.client.process import active_node
from dgss_ros.demo.drive import DemoDrive, find_camvid
from dgss_ros.demo.report import draw_sheet, make_report, print_report, score
from dgss_ros.replay.replay import Drive, play_through_node


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
    output.mkdir(parents=True, exist_ok=True)
    drive_bag, mask_bag = output / 'drive', output / 'masks'

    shown = with_progress(drive, 'Writing the drive', len(drive))
    write_bag(drive_bag, shown, overwrite=True)
    use_private_domain()
    with active_node(bundle, output / 'node.log', IMAGE_TOPIC) as node:
        played = Drive(drive_bag, IMAGE_TOPIC)
        times = play_through_node(node.ros, played, mask_bag, check=node.check)
    scores = score(drive_bag, mask_bag, drive.legs, opened.labels)

    sheet = draw_sheet(scores, opened.labels)
    cv2.imwrite(str(output / 'contact_sheet.png'), sheet[..., ::-1])
    report = make_report(scores, times, opened.identity)
    (output / 'report.json').write_text(json.dumps(report, indent=2) + '\n')
    print_report(Console(), report, output)
