"""Segment a video (an image, a folder, a bag) from Python.

    python examples/segment_video.py drive.mp4 masks/

Writes one PNG per frame: class ids of the embedded bundle, 255 where there is no label.
"""

from __future__ import annotations

import sys
from pathlib import Path

import cv2

import dgss_core as dgss


def main(source: str, output: str) -> None:
    folder = Path(output)
    folder.mkdir(parents=True, exist_ok=True)
    with dgss.Segmenter(dgss.open_bundle()) as segmenter:
        for frame in dgss.frames(source):
            prediction = segmenter(frame.image)
            png = cv2.imencode('.png', prediction.mask)[1]
            (folder / f'{frame.name}.png').write_bytes(png)  # imwrite fails without an error
            share = (prediction.confidence > 127).mean()
            print(f'{frame.name}: {share:.0%} of the pixels are more certain than not')


if __name__ == '__main__':
    if len(sys.argv) != 3:
        sys.exit('usage: python examples/segment_video.py SOURCE OUTPUT')
    try:
        main(*sys.argv[1:])
    except dgss.DgssError as error:
        sys.exit(f'error: {error}')
