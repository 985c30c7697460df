"""The pictures of a report: encoded so that they fit, and a viewer that compares their layers."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

from dgss_core.evaluation.pictures import error_indices, error_palette
from dgss_core.evaluation.report.elements import Element, count_of, element, figure
from dgss_core.evaluation.report.tables import swatch
from dgss_core.evaluation.report.timeline import SERIES
from dgss_core.images.compressed import encode_jpeg
from dgss_core.images.paint import fitted
from dgss_core.images.palette import encode_palette_png
from dgss_core.images.view import nearest
from dgss_core.labels import IGNORE

STEPS = ((960, 85), (800, 80), (640, 80), (480, 75), (320, 70), (240, 60), (160, 50))
"""Width in pixels and JPEG quality; the first at which all pictures fit is taken."""
LAYERS = {'mask': 'Mask', 'labels': 'Labels', 'error': 'Error'}


@dataclass(frozen=True)
class Picture:
    """A frame to show.

    `frame`: its place in `results['frames']`. `image`: RGB uint8 (H, W, 3). `mask`, `labels`: ids
    of the label set of the results, uint8, of any size; 255 is none. `note`: why it is shown.
    """

    frame: int
    image: np.ndarray
    mask: np.ndarray
    labels: np.ndarray | None = None
    note: str = ''


@dataclass(frozen=True)
class Encoded:
    """A picture as it stands in the page: data URLs of the image and of its layers."""

    frame: int
    note: str
    image: str
    layers: Mapping[str, str]
    size: tuple[int, int]

    @property
    def length(self) -> int:
        return len(self.image) + sum(map(len, self.layers.values()))


def encode_all(
    pictures: Sequence[Picture], colors: np.ndarray, budget: int
) -> tuple[list[Encoded], int]:
    """The pictures at the largest of `STEPS` at which they fit, and how many had to be left out.

    `colors`: RGB uint8 (256, 3) by class. `budget`: characters. Pictures are left out, from the
    end, only if they do not fit at the smallest step.
    """
    encoded: list[Encoded] = []
    for width, quality in STEPS:
        encoded, used = [], 0
        for picture in pictures:
            made = _encode(picture, colors, width, quality)
            used += made.length
            if used > budget:
                break
            encoded.append(made)
        if len(encoded) == len(pictures):
            break
    return encoded, len(pictures) - len(encoded)


def _encode(picture: Picture, colors: np.ndarray, widest: int, quality: int) -> Encoded:
    height, width = picture.image.shape[:2]
    size = fitted(width=width, height=height, to_width=min(width, widest))
    image = cv2.resize(picture.image, size, interpolation=cv2.INTER_AREA)
    planes = {'mask': nearest(picture.mask, width=size[0], height=size[1])}
    if picture.labels is not None:
        planes['labels'] = nearest(picture.labels, width=size[0], height=size[1])
    layers = {name: encode_palette_png(plane, colors) for name, plane in planes.items()}
    if 'labels' in planes:
        error = error_indices(planes['mask'], planes['labels'])
        layers['error'] = encode_palette_png(error, error_palette(colors))
    urls = {name: _url('png', data) for name, data in layers.items()}
    return Encoded(
        picture.frame, picture.note, _url('jpeg', encode_jpeg(image, quality)), urls, size
    )


def _url(kind: str, data: bytes) -> str:
    return f'data:image/{kind};base64,{b64encode(data).decode()}'


def class_palette(label_set: Mapping[str, Any]) -> np.ndarray:
    """RGB uint8 (256, 3) by class; other ids are black."""
    palette = np.zeros((IGNORE + 1, 3), np.uint8)
    for place, entry in enumerate(label_set['classes']):
        palette[place] = entry['color']
    return palette


def gallery(
    pictures: Sequence[Encoded],
    left_out: int,
    frames: Sequence[Mapping[str, Any]],
    label_set: Mapping[str, Any],
) -> list[Element]:
    """The viewer, its legend, and a list of thumbnails for each condition."""
    groups: dict[str, list[int]] = {}
    for place, picture in enumerate(pictures):
        groups.setdefault(frames[picture.frame]['condition'], []).append(place)
    parts = [_viewer(pictures[0]), _legend(label_set)]
    for name, places in groups.items():
        parts.append(element('h3', name, ' ', element('small', count_of(len(places), 'frame'))))
        items = [_thumbnail(place, pictures[place], frames) for place in places]
        parts.append(element('ul', items, class_='thumbs'))
    if left_out:
        text = f'{count_of(left_out, "more picture")} did not fit into the page.'
        parts.append(element('p', text, class_='note'))
    return parts


def _viewer(first: Encoded) -> Element:
    layers = [
        element(
            'label',
            element('input', type='radio', name='layer', value=name, checked=name == 'mask'),
            title,
        )
        for name, title in LAYERS.items()
    ]
    cut = 'Share of the image that shows beside the layer, in per cent'
    width, height = first.size
    return element(
        'div',
        element(
            'div',
            element('img', id='base', alt='', width=width, height=height),
            element('img', id='layer', alt='', width=width, height=height),
            element('div', id='divider'),
            id='stage',
        ),
        element('noscript', 'The viewer and the time line need a script.'),
        element(
            'div',
            element('label', 'Image', for_='cut', class_='end'),
            element(
                'input', id='cut', type='range', min='0', max='100', value='50', aria_label=cut
            ),
            element('span', 'Layer', id='layer-name', class_='end', aria_hidden='true'),
            class_='bar',
        ),
        element(
            'div',
            element('fieldset', element('legend', 'Layer', class_='hidden'), layers),
            element('button', '\N{LEFTWARDS ARROW} Previous', id='previous', type='button'),
            element('button', 'Next \N{RIGHTWARDS ARROW}', id='next', type='button'),
            class_='bar',
        ),
        element('output', id='shown', class_='values', for_='previous next'),
        id='viewer',
        tabindex='-1',
        role='group',
        aria_label='Viewer of one frame',
    )


def _legend(label_set: Mapping[str, Any]) -> Element:
    names = [
        element('li', swatch(entry['color']), entry['name']) for entry in label_set['classes']
    ]
    errors = (
        'Error: grey is right, a colour is the class that was predicted wrongly, black has no '
        'label.'
    )
    return element(
        'div',
        element('ul', names, class_='legend', aria_label='Colours of the classes'),
        element('p', errors, class_='note'),
    )


def _thumbnail(place: int, picture: Encoded, frames: Sequence[Mapping[str, Any]]) -> Element:
    frame = frames[picture.frame]
    width, height = picture.size
    image = element('img', src=picture.image, alt='', decoding='async', width=width, height=height)
    values = [
        f'{SERIES[key][0]} {figure(frame[key])}' for key in SERIES if frame.get(key) is not None
    ]
    note = ', '.join([*([picture.note] if picture.note else []), *values[:1]])
    words = [element('span', frame['name'], class_='name'), element('small', note)]
    button = element('button', image, words, type='button', data_picture=place)
    return element('li', button)
