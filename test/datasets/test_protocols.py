from __future__ import annotations

import cv2
import numpy as np
import pytest
from PIL import Image

from dgss_core.datasets import DATASETS, Sample
from dgss_core.datasets.protocols import load_protocol
from dgss_core.errors import DgssError
from dgss_core.labels import IGNORE

SIZES = {
    'cityscapes': (2048, 1024), 'bdd100k': (1280, 720), 'mapillary': (4000, 3000),
    'acdc': (1920, 1080), 'gta5': (1914, 1052),
}  # fmt: skip


def sample(width: int, height: int) -> Sample:
    ramp = np.linspace(0, 255, width).astype(np.uint8)
    image = np.broadcast_to(ramp[None, :, None], (height, width, 3)).copy()
    return Sample('x', image, image[..., 0] // 16, 'day')


@pytest.mark.parametrize(
    ('protocol', 'dataset', 'image', 'labels'),
    [
        ('native', 'mapillary', (4000, 3000), (4000, 3000)),
        ('famix', 'cityscapes', (2048, 1024), (2048, 1024)),
        ('famix', 'gta5', (1914, 1046), (1914, 1046)),
        ('famix', 'mapillary', (1536, 1536), (1536, 1536)),
        ('rein', 'cityscapes', (1024, 512), (2048, 1024)),
        ('rein', 'bdd100k', (1280, 720), (1280, 720)),
        ('rein', 'mapillary', (683, 512), (2000, 1500)),
        ('rein', 'acdc', (960, 540), (1920, 1080)),
        ('rein-1024', 'acdc', (1920, 1080), (1920, 1080)),
        ('vltseg', 'bdd100k', (910, 512), (1280, 720)),
        ('vltseg', 'acdc', (960, 540), (1920, 1080)),
        ('clouds', 'cityscapes', (2048, 1024), (2048, 1024)),
        ('clouds', 'bdd100k', (1820, 1024), (1820, 1024)),
        ('soma', 'mapillary', (1365, 1024), (2000, 1500)),
    ],
)
def test_sizes_are_those_of_the_papers_code(
    protocol: str, dataset: str, image: tuple[int, int], labels: tuple[int, int]
) -> None:
    view = load_protocol(protocol).view(dataset)
    seen = view(sample(*SIZES[dataset]))
    assert seen is not None
    assert seen.image.shape == (*image[::-1], 3)
    assert seen.labels.shape == labels[::-1]
    # Image and labels stay aligned: the ramp runs from dark to bright in both.
    inside = seen.labels != IGNORE
    if seen.image.shape[:2] == seen.labels.shape:
        assert (
            np.abs(seen.image[..., 0][inside] // 16 - seen.labels[inside].astype(int)).max() <= 1
        )


@pytest.mark.parametrize('protocol', ['famix', 'rein', 'clouds', 'soma'])
def test_images_shrink_as_in_the_papers_code(protocol: str) -> None:
    """PIL's filters widen where an image shrinks; stripes of two pixels become grey."""
    image = np.tile(np.array([0, 0, 255, 255], np.uint8), (3001, 1001))[..., None].repeat(3, 2)
    ids = (image[..., 0] // 255).copy()
    seen = load_protocol(protocol).view('mapillary')(Sample('x', image, ids, 'day'))
    pillow = Image.fromarray(image)
    if protocol == 'famix':
        width = int(4004 / 3001 * 1536)
        left = (width - 1536) // 2
        whole = np.asarray(pillow.resize((width, 1536), Image.Resampling.BICUBIC))
        expected = whole[:, left : left + 1536]
    elif protocol == 'clouds':
        expected = np.asarray(pillow.resize((1366, 1024), Image.Resampling.BILINEAR))
    else:
        half = np.asarray(pillow.resize((2002, 1500), Image.Resampling.BICUBIC))
        size = (683, 512) if protocol == 'rein' else (1367, 1024)
        expected = cv2.resize(half, size, interpolation=cv2.INTER_LINEAR)
        theirs = Image.fromarray(ids).resize((2002, 1500), Image.Resampling.NEAREST)
        np.testing.assert_array_equal(seen.labels, np.asarray(theirs))
    np.testing.assert_array_equal(seen.image, expected)


def test_famix_pads_and_leaves_out() -> None:
    protocol = load_protocol('famix')
    wide = protocol.view('mapillary_v2')(sample(400, 800))
    assert wide is not None
    assert (wide.labels == IGNORE).all(0).sum() == 1536 - 768
    assert protocol.view('acdc')(sample(960, 540)) is None
    assert protocol.view('acdc')(sample(1920, 1080)) is not None


def test_titles_name_protocol_and_mode() -> None:
    assert load_protocol('rein').title == 'protocol rein (windows of 512 every 341)'
    assert load_protocol('native').title == 'protocol native (whole images)'
    assert load_protocol('rein').map == 'mapillary_rein'
    with pytest.raises(DgssError, match="no protocol 'reyn'; use one of native, famix, rein"):
        load_protocol('reyn')


def test_every_view_is_of_a_dataset() -> None:
    for name in (
        'native',
        'famix',
        'rein',
        'rein-1024',
        'vltseg',
        'vltseg-real',
        'clouds',
        'soma',
    ):
        assert {*load_protocol(name).views} <= {'any', *DATASETS}
