"""Miniature copies of the datasets in their original layouts, with frames of 8x6 pixels."""

from __future__ import annotations

import json
import struct
import zipfile
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path

import cv2
import numpy as np

from dgss_core.labels import LabelSet

WIDTH, HEIGHT = 8, 6
COLORS = LabelSet.load('cityscapes19').colors
CITYSCAPES_IDS = (7, 8, 11, 26, 34, 0, 255, 33)
AS_TRAIN_IDS = (0, 1, 2, 13, 255, 255, 255, 18)


def columns(*ids: int) -> np.ndarray:
    """Labels uint8 (6, 8) with one id per column; the last id fills the rest."""
    row = [*ids, *[ids[-1]] * (WIDTH - len(ids))]
    return np.tile(np.array(row, np.uint8), (HEIGHT, 1))


def picture(suffix: str = '.png', size: tuple[int, int] = (WIDTH, HEIGHT)) -> bytes:
    """A red picture of `size` (width, height); red reveals a wrong channel order."""
    pixels = np.full((size[1], size[0], 3), (0, 0, 200), np.uint8)
    return cv2.imencode(suffix, pixels)[1].tobytes()


def grey(ids: np.ndarray) -> bytes:
    return cv2.imencode('.png', ids)[1].tobytes()


def png(ids: np.ndarray, kind: int, depth: int, rows: list[bytes], *chunks: bytes) -> bytes:
    header = struct.pack('>IIBBBBB', ids.shape[1], ids.shape[0], depth, kind, 0, 0, 0)
    data = zlib.compress(b''.join(b'\0' + row for row in rows))
    parts = [_chunk(b'IHDR', header), *chunks, _chunk(b'IDAT', data), _chunk(b'IEND', b'')]
    return b'\x89PNG\r\n\x1a\n' + b''.join(parts)


def indexed(ids: np.ndarray, palette: np.ndarray, depth: int = 8) -> bytes:
    """A palette PNG; its colours may repeat, as in GTA5."""
    rows = [np.packbits(np.unpackbits(row[:, None], axis=1)[:, 8 - depth :]).tobytes()
            for row in ids]  # fmt: skip
    return png(ids, 3, depth, rows, _chunk(b'PLTE', palette.astype(np.uint8).tobytes()))


def two_channels(ids: np.ndarray, grey_alpha: bool = False) -> bytes:
    """SYNTHIA's 16-bit PNG: class, instance, and a third channel of zeros if stored as RGB."""
    instance = ids * np.uint16(7) + 300
    planes = [ids, instance, *([] if grey_alpha else [np.zeros_like(ids)])]
    pixels = np.stack(planes, axis=2).astype('>u2')
    return png(ids, 4 if grey_alpha else 2, 16, [row.tobytes() for row in pixels])


def _chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack('>I', len(body)) + kind + body + struct.pack('>I', zlib.crc32(kind + body))


def gta_palette() -> np.ndarray:
    """Colours of the Cityscapes ids; id 34 has the colour of cars, many ids are black."""
    palette = np.zeros((35, 3), np.uint8)
    known = dict(zip((7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33),
                     range(19), strict=True))  # fmt: skip
    for stored, train_id in known.items():
        palette[stored] = COLORS[train_id]
    palette[34] = COLORS[13]
    return palette


def gta5() -> dict[str, bytes]:
    files = {}
    for name in ('00001', '00002'):
        files[f'images/{name}.png'] = picture()
        files[f'labels/{name}.png'] = indexed(columns(*CITYSCAPES_IDS[:6], 33), gta_palette())
    return files


def synthia() -> dict[str, bytes]:
    files = {}
    for place, name in enumerate(('0000000', '0000001')):
        files[f'RAND_CITYSCAPES/RGB/{name}.png'] = picture()
        labels = two_channels(columns(3, 4, 2, 8, 0, 22, 11), grey_alpha=place == 1)
        files[f'RAND_CITYSCAPES/GT/LABELS/{name}.png'] = labels
    return files


def urbansyn() -> dict[str, bytes]:
    return {
        'rgb/rgb_0001.png': picture(),
        'ss/ss_0001.png': grey(columns(0, 1, 2, 13, 19, 19, 19, 18)),
        'ss_color/ss_color_0001.png': picture(),
    }


def cityscapes() -> dict[str, bytes]:
    files = {'README': b'', 'license.txt': b''}
    for split, city in (('train', 'aachen'), ('val', 'lindau'), ('test', 'berlin')):
        name = f'{split}/{city}/{city}_000000_000019'
        files[f'leftImg8bit/{name}_leftImg8bit.png'] = picture()
        files[f'gtFine/{name}_gtFine_labelIds.png'] = grey(columns(*CITYSCAPES_IDS))
        files[f'gtFine/{name}_gtFine_color.png'] = picture()
        files[f'gtFine/{name}_gtFine_polygons.json'] = b'{}'
    return files


def bdd100k() -> dict[str, bytes]:
    files = {}
    for split in ('train', 'val'):
        files[f'bdd100k/images/10k/{split}/0a0a0b1a.jpg'] = picture('.jpg')
        files[f'bdd100k/labels/sem_seg/masks/{split}/0a0a0b1a.png'] = grey(columns(*AS_TRAIN_IDS))
        files[f'bdd100k/labels/sem_seg/colormaps/{split}/0a0a0b1a.png'] = picture()
    files['bdd100k/images/10k/train/0004a4c0.jpg'] = picture('.jpg')
    return files


MAPILLARY_IDS = (13, 24, 41, 46, 49, 44, 65, 52)
MAPILLARY_HRDA = (0, 0, 0, 255, 255, 255, 255, 18)
MAPILLARY_REIN = (0, 0, 255, 7, 7, 5, 255, 18)
V2_CLASSES = ('Road', 'Lane Marking - Dashed Line', 'Manhole', 'Traffic Sign Frame',
              'Traffic Sign (Back)', 'Street Light', 'Unlabeled', 'Bicycle')  # fmt: skip


def mapillary() -> dict[str, bytes]:
    palette = np.random.default_rng(0).integers(0, 256, (66, 3))
    return {
        'config.json': b'{}',
        'validation/images/-1tp.jpg': picture('.jpg'),
        'validation/labels/-1tp.png': indexed(columns(*MAPILLARY_IDS), palette),
        'validation/instances/-1tp.png': picture(),
    }


def mapillary_v2() -> dict[str, bytes]:
    colors = np.random.default_rng(0).integers(0, 256, (len(V2_CLASSES), 3))
    labels = [
        {'name': 'x', 'readable': name, 'color': color}
        for name, color in zip(V2_CLASSES, colors.tolist(), strict=True)
    ]
    return {
        'config_v1.2.json': b'{}',
        'config_v2.0.json': json.dumps({'labels': labels}).encode(),
        'validation/images/-1tp.jpg': picture('.jpg'),
        'validation/v1.2/labels/-1tp.png': indexed(columns(*MAPILLARY_IDS), np.zeros((66, 3))),
        'validation/v2.0/labels/-1tp.png': indexed(columns(*range(8)), colors),
    }


def acdc() -> dict[str, bytes]:
    files = {}
    for condition in ('fog', 'night', 'rain', 'snow'):
        for split in ('train', 'val', 'test'):
            name = f'GOPR0475_frame_{len(files):06}'
            image, gt = (f'{top}/{condition}/{split}/GOPR0475' for top in ('rgb_anon', 'gt'))
            files[f'{image}/{name}_rgb_anon.png'] = picture()
            clear = image.replace(f'/{split}/', f'/{split}_ref/')
            files[f'{clear}/{name}_rgb_ref_anon.png'] = picture()
            if split != 'test':
                files[f'{gt}/{name}_gt_labelTrainIds.png'] = grey(columns(*AS_TRAIN_IDS))
                files[f'{gt}/{name}_gt_labelIds.png'] = grey(columns(*CITYSCAPES_IDS))
                files[f'{gt}/{name}_gt_invIds.png'] = grey(columns(0))
    return files


def dark_zurich() -> dict[str, bytes]:
    name = 'GOPR0356/GOPR0356_frame_000321'
    return {
        f'rgb_anon/val/night/{name}_rgb_anon.png': picture(),
        f'gt/val/night/{name}_gt_labelTrainIds.png': grey(columns(*AS_TRAIN_IDS)),
        f'rgb_anon/val_ref/day/{name}_rgb_anon.png': picture(),
        f'rgb_anon/train/twilight/{name}_rgb_anon.png': picture(),
        f'rgb_anon/train/day/{name.replace("321", "322")}_rgb_anon.png': picture(),
    }


def idd() -> dict[str, bytes]:
    def box(label: str, left: int, right: int, **more: int) -> dict:
        corners = [[left, 0], [right, 0], [right, HEIGHT - 1], [left, HEIGHT - 1]]
        return {'label': label, 'polygon': corners, **more}

    objects = [
        box('road', 0, 7), box('sidewalk', 1, 7), box('building', 2, 7), box('car', 3, 7),
        box('autorickshaw', 4, 6), box('bicycle', 7, 7), box('sky', 0, 7, deleted=1),
    ]  # fmt: skip
    polygons = json.dumps({'imgWidth': WIDTH, 'imgHeight': HEIGHT, 'objects': objects}).encode()
    files = {}
    for sequence, suffix in (('0', 'png'), ('201', 'jpg')):
        files[f'leftImg8bit/train/{sequence}/000001_leftImg8bit.{suffix}'] = picture(f'.{suffix}')
        files[f'gtFine/train/{sequence}/000001_gtFine_polygons.json'] = polygons
    return files


def kitti() -> dict[str, bytes]:
    return {
        'training/image_2/000000_10.png': picture(),
        'training/semantic/000000_10.png': grey(columns(*CITYSCAPES_IDS)),
        'training/semantic_rgb/000000_10.png': picture(),
        'testing/image_2/000000_10.png': picture(),
    }


def camvid() -> dict[str, bytes]:
    return {
        'CamVid/train/0001TP_006690.png': picture(),
        'CamVid/trainannot/0001TP_006690.png': grey(columns(3, 4, 1, 8, 11, 11, 11, 10)),
        'CamVid/train.txt': b'',
    }


COPIES: Mapping[str, Callable[[], dict[str, bytes]]] = {
    function.__name__: function
    for function in (
        gta5, synthia, urbansyn, cityscapes, bdd100k, mapillary, mapillary_v2, acdc, dark_zurich,
        idd, kitti, camvid,
    )
}  # fmt: skip
ZIPS: Mapping[str, tuple[str, str]] = {
    # The download with the images, and the download with all other files.
    'gta5': ('01_images.zip', '01_labels.zip'),
    'cityscapes': ('leftImg8bit_trainvaltest.zip', 'gtFine_trainvaltest.zip'),
    'bdd100k': ('bdd100k_images_10k.zip', 'bdd100k_sem_seg_labels_trainval.zip'),
    'acdc': ('rgb_anon_trainvaltest.zip', 'gt_trainval.zip'),
}


def write_folder(files: Mapping[str, bytes], root: Path) -> Path:
    for name, data in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(data)
    return root


def write_zips(dataset: str, files: Mapping[str, bytes], root: Path) -> Path:
    """Write the downloads of `dataset`: a folder with two zips, or one zip."""
    root.mkdir(parents=True, exist_ok=True)
    images, labels = ZIPS.get(dataset, (f'{dataset}.zip',) * 2)
    pictures = ('images/', 'leftImg8bit/', 'rgb_anon/')
    for name, data in files.items():
        archive = images if any(part in name for part in pictures) else labels
        with zipfile.ZipFile(root / archive, 'a', zipfile.ZIP_DEFLATED) as target:
            target.writestr(name, data)
    return root if images != labels else root / images
