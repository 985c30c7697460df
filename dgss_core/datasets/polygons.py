"""Labels stored as polygons, in the JSON format of Cityscapes and IDD."""

from __future__ import annotations

import json
from collections.abc import Sequence

import cv2
import numpy as np

from dgss_core.errors import DgssError


def draw_polygons(data: bytes, classes: Sequence[str]) -> np.ndarray:
    """Draw polygons as indices into `classes`, uint8 (H, W), 255 where there is no object.

    Later objects cover earlier ones; deleted objects are skipped. Raises DgssError for another
    format and for a class that is not in `classes`.
    """
    try:
        content = json.loads(data)
        labels = np.full((content['imgHeight'], content['imgWidth']), 255, np.uint8)
        for thing in content['objects']:
            if thing.get('deleted') or len(thing['polygon']) < 3:
                continue
            corners = np.rint(np.array(thing['polygon'], np.float64)).astype(np.int32)
            cv2.fillPoly(labels, [corners], classes.index(thing['label']))
    except (ValueError, KeyError, TypeError) as error:
        raise DgssError(f'The polygons are damaged or of unknown classes ({error}).') from error
    return labels
