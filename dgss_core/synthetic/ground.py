"""The ground: ray casting of the road plane and the raised sidewalks beside it."""

from itertools import pairwise
from typing import NamedTuple

import cv2
import numpy as np

from dgss_core.synthetic.camera import DriveCamera
from dgss_core.synthetic.classes import ROAD, SIDEWALK, TERRAIN
from dgss_core.synthetic.markings import paint_markings
from dgss_core.synthetic.noise import rgbe
from dgss_core.synthetic.raster import BACKDROP, GBuffer
from dgss_core.synthetic.style import Stock, Style
from dgss_core.synthetic.surfaces import TEXELS, TILE
from dgss_core.synthetic.things import CORNER, KERB
from dgss_core.synthetic.tiles import Tiles
from dgss_core.synthetic.world import Street

FARTHEST = 600.0
"""Metres; the ground ends at this distance, at the horizon."""
_STREET, _PAVING, _GRASS, _EDGE, _KERB = range(5)
"""What covers the ground; the first three are textures of the stock."""
_LABELS = np.array([ROAD, SIDEWALK, TERRAIN, SIDEWALK, SIDEWALK], np.uint8)
_ROWS = 32
"""Rows that are worked on at once: they fit into the cache of a core."""
_PIXELS = 2**14
"""Pixels that are sampled at once; `cv2.remap` takes less than 2**15 in a row."""
_LEVELS = 6


class GroundView(NamedTuple):
    """The ground below the horizon, from row `top` of the image on.

    `cover` (h, W) uint8: what covers it. `lateral` (h, W) float32: distance from the centre line
    in metres, positive on the right.
    """

    top: int
    road: 'Plane'
    walk: 'Plane'
    cover: np.ndarray
    lateral: np.ndarray


class Ground:
    """Draws the ground of streets of one seed."""

    def __init__(self, style: Style, stock: Stock) -> None:
        self.style = style
        self.levels = [_pyramid(rgbe(texture)) for texture in stock.ground]
        paving = stock.ground[1].reshape(-1, 3).mean(0)
        kerb = np.clip(paving * 1.12, 0, 235)
        self.kerbs = {_EDGE: _packed(kerb), _KERB: _packed(kerb * 0.6)}

    def draw(self, buffer: GBuffer, street: Street) -> GroundView | None:
        """Fill label and depth below the horizon of an empty buffer; None if it lies below."""
        camera = buffer.camera
        top = int(np.clip(np.floor(camera.cy) + 1, 0, camera.height))
        rows = np.arange(top, camera.height) + 0.5 - camera.cy
        rows = np.maximum(rows, 0.25)
        if not len(rows):
            return None
        across = ((np.arange(camera.width) + 0.5 - camera.cx) / camera.focal).astype(np.float32)
        road = Plane(street, camera, rows, across, 0.0)
        walk = Plane(street, camera, rows, across, KERB)
        shape = len(rows), camera.width
        view = GroundView(top, road, walk, np.empty(shape, np.uint8), np.empty(shape, np.float32))
        for start in range(0, len(rows), _ROWS):
            self._cover(view, slice(start, start + _ROWS), buffer.inverse_depth[top:])
        np.take(_LABELS, view.cover, out=buffer.label[top:])
        return view

    def _cover(self, view: GroundView, rows: slice, inverse_depth: np.ndarray) -> None:
        """Fill `rows` of what the ground is, and of its inverse depth."""
        road, walk, half_road = view.road, view.walk, self.style.half_road
        on_walk, on_road = walk.lateral(rows), road.lateral(rows)
        raised = (np.abs(on_walk) > half_road) & ~walk.junction[rows, None]
        beside = ~raised & (np.abs(on_road) > half_road) & ~road.junction[rows, None]
        lateral = np.where(raised, on_walk, on_road)
        side = np.abs(lateral)
        green = self._green(walk, rows, lateral, side) & raised
        cover = beside * np.uint8(_KERB)
        cover[raised] = _PAVING
        cover[raised & (side < half_road + 0.16)] = _EDGE
        cover[green] = _GRASS
        view.cover[rows], view.lateral[rows] = cover, lateral
        far, near = 1 / walk.depth[rows, None], 1 / road.depth[rows, None]
        inverse_depth[rows] = np.where(raised, far, near)

    def _green(
        self, plane: 'Plane', rows: slice, lateral: np.ndarray, side: np.ndarray
    ) -> np.ndarray:
        """Mask of the grass: the strip along the kerb, gardens and parks."""
        style = self.style
        green = np.zeros(lateral.shape, bool)
        owner, corner = plane.owner[rows], plane.corner[rows]
        far = side > style.front + 0.15
        for sign in (-1, 1):
            garden = np.array([b.kinds[sign] in ('houses', 'park') for b in plane.blocks])
            found = garden[owner] & ~corner
            if found.any():
                green |= far & found[:, None] & ((lateral > 0) == (sign > 0))
        if style.strip:
            strip = (side > style.half_road + 0.3) & (side < style.half_road + style.strip)
            green |= strip & ~corner[:, None]
        return green

    def paint(self, buffer: GBuffer, view: GroundView) -> None:
        """Fill the colour of the ground where nothing else is painted."""
        below = slice(view.top, None)
        cover = np.where(buffer.face[below] <= BACKDROP, view.cover, 255)
        color = buffer.color.view(np.uint32)[below, :, 0]
        levels = self._level_of_rows(view)
        for which in (_STREET, _PAVING, _GRASS):
            self._texture(color, cover == which, view, which, levels)
        for which, tone in self.kerbs.items():
            color[cover == which] = tone
        on_road = cover == _STREET
        paint_markings(buffer.color[below, :, :3], on_road, view.road, self.style)

    def _level_of_rows(self, view: GroundView) -> np.ndarray:
        """The level of the textures for the distance of each row, (h,)."""
        s, lateral = view.walk.s, view.lateral
        step = np.abs(np.gradient(s)) if len(s) > 1 else np.ones(1)
        grain = np.sqrt(step * np.abs(lateral[:, 1] - lateral[:, 0]) + 1e-9) * (TEXELS / TILE)
        level = np.clip(np.floor(np.log2(np.maximum(grain, 1))), 0, _LEVELS - 1).astype(int)
        # A row between two of a coarser level has that level too.
        found = level.copy()
        for n in np.unique(level):
            rows = np.flatnonzero(level == n)
            found[rows[0] : rows[-1] + 1] = n
        return found

    def _texture(
        self,
        color: np.ndarray,
        mask: np.ndarray,
        view: GroundView,
        which: int,
        levels: np.ndarray,
    ) -> None:
        """Sample a tiled texture where `mask` is set, each row from the level for its distance."""
        scale, together = TEXELS / TILE, max(1, _PIXELS // mask.shape[1])
        cuts = np.flatnonzero(np.diff(levels)) + 1
        starts = [0, *cuts.tolist(), len(levels)]
        for start, end in pairwise(starts):
            n = int(levels[start])
            texture = self.levels[which][n]
            v = (np.mod(view.walk.s[start:end], TILE) * (scale / 2**n)).astype(np.float32)
            for first in range(start, end, together):
                rows = slice(first, min(first + together, end))
                used = mask[rows]
                count = np.count_nonzero(used, 1)
                if not count.any():
                    continue
                across = view.lateral[rows][used] * np.float32(scale / 2**n)
                along = np.repeat(v[first - start : rows.stop - start], count)
                found = texture.at(across[None], along[None])
                color[rows][used] = found.view(np.uint32)[0, :, 0]


class Plane:
    """Intersections of the rays of all pixels below the horizon with the plane at height z.

    All are of the rows (h,): `depth` and `s` in metres, `owner`: index into `blocks`, `junction`,
    `corner`, `zebra`, `stop`: bool.
    """

    def __init__(
        self,
        street: Street,
        camera: DriveCamera,
        rows: np.ndarray,
        across: np.ndarray,
        z: float,
    ) -> None:
        self.focal, self.across = camera.focal, across
        height = max(camera.z - z, 0.05)
        self.depth = np.minimum(camera.focal * height / rows, FARTHEST).astype(np.float32)
        self.s = camera.s + self.depth
        self.offset = (camera.y - street.centre(self.s)).astype(np.float32)
        pitch = street.style.block
        index = np.floor(np.minimum(self.s, camera.s + 320) / pitch).astype(int)
        first = index.min()
        self.blocks = [street.block(k) for k in range(first, index.max() + 1)]
        self.owner = index - first
        starts = np.array([b.start for b in self.blocks])[self.owner]
        widths = np.array([b.crossing for b in self.blocks])[self.owner]
        follow = np.array([street.block(first + i + 1).crossing for i in range(len(self.blocks))])
        ahead = starts + pitch - self.s
        crossed_next = follow[self.owner] > 0
        into = self.s - starts
        near = self.s < camera.s + 320
        self.junction = (into < widths) & near
        self.corner = ((widths > 0) & (into < widths + CORNER)) | (ahead < CORNER)
        self.zebra = crossed_next & (ahead > 0.8) & (ahead < 4.2) & near
        self.stop = crossed_next & (ahead > 5.0) & (ahead < 5.4) & near

    def lateral(self, rows: slice | np.ndarray) -> np.ndarray:
        """Distance of the pixels of `rows` from the centre line, float32 (n, W), in metres."""
        return self.depth[rows, None] * self.across + self.offset[rows, None]


def _pyramid(texture: np.ndarray) -> list[Tiles]:
    """The texture (n, n, 4) and its halves."""
    levels = [texture]
    for _ in range(_LEVELS - 1):
        size = levels[-1].shape[0] // 2
        levels.append(cv2.resize(levels[-1], (size, size), interpolation=cv2.INTER_AREA))
    return [Tiles(level) for level in levels]


def _packed(color: np.ndarray) -> np.uint32:
    return np.array([(*color.astype(np.uint8), 0)], np.uint8).view(np.uint32)[0, 0]
