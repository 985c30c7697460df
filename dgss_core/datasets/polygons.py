"""Labels stored as polygons, in the JSON format of Cityscapes and IDD."""

from __future__ import annotations

import operator
from collections.abc import Sequence

import cv2
import numpy as np

from dgss_core.documents import fault_of, load_json
from dgss_core.errors import DgssError
from dgss_core.images.encodings import check_size

REACH = -(1 << 15), 1 << 16
"""Corners may lie outside the image, but not further than OpenCV can compute."""


def draw_polygons(data: bytes, classes: Sequence[str]) -> np.ndarray:
    """Draw polygons as indices into `classes`, uint8 (H, W), 255 where there is no object.

    Later objects cover earlier ones; deleted objects are skipped. Raises DgssError for another
    format and for a class that is not in `classes`.
    """
    try:
        content = load_json(data, 'The file')
        height, width = operator.index(content['imgHeight']), operator.index(content['imgWidth'])
        check_size(width=width, height=height)
        labels = np.full((height, width), 255, np.uint8)
        for thing in content['objects']:
            if thing.get('deleted') or len(thing['polygon']) < 3:
                continue
            corners = np.rint(np.array(thing['polygon'], np.float64)).clip(*REACH)
            index = classes.index(thing['label'])
            cv2.fillPoly(labels, [corners.astype(np.int32)], index)
    except (AttributeError, ValueError, KeyError, TypeError, cv2.error) as error:
        raise DgssError(
            f'The polygons are damaged or of unknown classes ({fault_of(error)}).'
        ) from error
    return labels
