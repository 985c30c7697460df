"""A folder of frames to label, with the masks as a first draft, in the layout of Pascal VOC.

CVAT, FiftyOne and others import it: JPEGImages/, SegmentationClass/ in the colours of the classes,
and labelmap.txt, which names them.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from dgss_core.evaluation.frames import flat_name
from dgss_core.files import Kind, replacing_folder
from dgss_core.images.compressed import encode_jpeg, encode_png
from dgss_core.images.paint import colorize
from dgss_core.labels import LabelSet

IMAGES, MASKS, CLASSES = 'JPEGImages', 'SegmentationClass', 'labelmap.txt'
MARK = '# frames to label, by dgss evaluate\n'
QUALITY = 95


def write_to_label(
    folder: Path,
    frames: Iterable[tuple[str, np.ndarray, np.ndarray]],
    labels: LabelSet,
) -> None:
    """Write (name, image, mask): RGB uint8 (H, W, 3) and uint8 (H, W) ids of `labels`.

    An earlier folder of this kind is replaced. Raises DgssError for any other.
    """
    with replacing_folder(folder, TO_LABEL) as staging:
        for name in (IMAGES, MASKS):
            (staging / name).mkdir()
        lines = [f'{label.name}:{",".join(map(str, label.color))}::' for label in labels.labels]
        (staging / CLASSES).write_text(MARK + '\n'.join(lines) + '\n', encoding='utf-8')
        taken: set[str] = set()
        for name, image, mask in frames:
            flat = flat_name(name, taken)
            (staging / IMAGES / f'{flat}.jpg').write_bytes(encode_jpeg(image, QUALITY))
            (staging / MASKS / f'{flat}.png').write_bytes(encode_png(colorize(mask, labels)))


def _why_not(folder: Path) -> str:
    classes = folder / CLASSES
    if not classes.is_file() or not classes.read_text(errors='replace').startswith(MARK):
        return f'it has no {CLASSES} of dgss evaluate'
    for name, suffix in ((IMAGES, '.jpg'), (MASKS, '.png')):
        for path in (folder / name).glob('*'):
            if path.suffix != suffix:
                return f'it holds {name}/{path.name}'
    others = {path.name for path in folder.iterdir()} - {IMAGES, MASKS, CLASSES}
    return f'it holds {min(others)}' if others else ''


TO_LABEL = Kind('a folder of frames to label', _why_not)
