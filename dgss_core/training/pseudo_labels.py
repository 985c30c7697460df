"""Pseudo-labels refined by a promptable segmenter: the SAM refinement of CLOUDS (section 3.3).

The teacher's class map is split into connected components. A few random points of each component
prompt the segmenter for a mask. Pixels that several masks cover belong to none of them.
"""

from collections.abc import Callable

import numpy as np
import torch

from dgss_core.networks.losses.matching import Target

PointSegmenter = Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]
"""(K,P,2) points, x and y in pixels, to (K,M,H,W) bool masks and (K,M) predicted qualities."""


def class_masks(labels: np.ndarray, num_classes: int = 19) -> dict[int, np.ndarray]:
    """(H,W) bool mask of every class in labels (H,W), ascending, without ids >= `num_classes`."""
    present = (int(c) for c in np.unique(labels))
    return {c: np.equal(labels, c) for c in present if 0 <= c < num_classes}


def components(mask: np.ndarray, min_area: int = 5000) -> np.ndarray:
    """(K,H,W) bool: 4-connected parts of mask (H,W) with more than `min_area` pixels."""
    from scipy import ndimage

    parts, count = ndimage.label(mask)
    areas = np.bincount(parts.ravel(), minlength=count + 1)
    large = [part for part in range(1, count + 1) if areas[part] > min_area]
    return parts == np.array(large, dtype=parts.dtype)[:, None, None]


def random_points(parts: np.ndarray, count: int, random: np.random.RandomState) -> np.ndarray:
    """(K,count,2) float32 x and y of distinct random pixels inside each of parts (K,H,W)."""
    points = np.empty((len(parts), count, 2), np.float32)
    for part, chosen in zip(parts, points, strict=True):
        y, x = np.nonzero(part)
        index = random.choice(len(x), count, replace=False)
        chosen[:, 0], chosen[:, 1] = x[index], y[index]
    return points


def best_masks(masks: np.ndarray, quality: np.ndarray) -> np.ndarray:
    """(K,H,W): for each K the mask of masks (K,M,H,W) with the highest quality (K,M)."""
    return masks[np.arange(len(masks)), quality.argmax(axis=1)]


def without_overlaps(masks: np.ndarray) -> np.ndarray:
    """Masks (K,H,W) bool without the pixels that more than one of them covers."""
    return masks & (masks.sum(axis=0) == 1)


def refine(
    labels: np.ndarray,
    segment: PointSegmenter,
    random: np.random.RandomState,
    num_classes: int = 19,
    min_area: int = 5000,
    points: int = 5,
) -> Target:
    """The classes of a teacher's class map (H,W) and their refined masks.

    Classes without a component of more than `min_area` pixels are left out. If the image has no
    such component at all, the teacher's masks are returned unchanged.
    """
    raw = class_masks(labels, num_classes)
    parts = {c: components(mask, min_area) for c, mask in raw.items()}
    parts = {c: found for c, found in parts.items() if len(found)}
    if not parts:
        return as_target(raw, labels.shape)
    prompts = random_points(np.concatenate(list(parts.values())), points, random)
    clean = without_overlaps(best_masks(*segment(prompts)))
    ends = np.cumsum([len(found) for found in parts.values()])
    per_class = np.split(clean, ends[:-1])
    refined = {c: np.any(masks, axis=0) for c, masks in zip(parts, per_class, strict=True)}
    return as_target(refined, labels.shape)


def as_target(masks: dict[int, np.ndarray], shape: tuple[int, ...]) -> Target:
    """Masks (H,W) by class id as the target of the set criterion."""
    stacked = np.stack(list(masks.values())) if masks else np.zeros((0, *shape), bool)
    return Target(torch.tensor(list(masks), dtype=torch.long), torch.from_numpy(stacked).float())
