"""The ground: ray casting of the road plane and the raised sidewalks beside it."""

import cv2
import numpy as np

from dgss_core.synthetic.camera import DriveCamera
from dgss_core.synthetic.classes import ROAD, SIDEWALK, TERRAIN
from dgss_core.synthetic.noise import Color
from dgss_core.synthetic.raster import GBuffer
from dgss_core.synthetic.surfaces import TEXELS, TILE
from dgss_core.synthetic.things import CORNER, KERB
from dgss_core.synthetic.world import Street

FARTHEST = 600.0
"""Metres; the ground ends at this distance, at the horizon."""


class Ground:
    """Draws the ground of a street into an empty buffer."""

    def __init__(self, street: Street) -> None:
        self.street = street
        self.levels = [_pyramid(texture) for texture in street.stock.ground]
        paving = street.stock.ground[1].reshape(-1, 3).mean(0)
        self.kerb = np.clip(paving * 1.12, 0, 235)

    def draw(self, buffer: GBuffer) -> None:
        """Fill colour, label and depth below the horizon."""
        camera, style = buffer.camera, self.street.style
        top = int(np.clip(np.floor(camera.cy) + 1, 0, camera.height))
        rows = np.arange(top, camera.height) + 0.5 - camera.cy
        rows = np.maximum(rows, 0.25)
        if not len(rows):
            return
        across = ((np.arange(camera.width) + 0.5 - camera.cx) / camera.focal).astype(np.float32)
        road = _Plane(self.street, camera, rows, across, 0.0)
        walk = _Plane(self.street, camera, rows, across, KERB)
        raised = (np.abs(walk.lateral) > style.half_road) & ~walk.junction[:, None]
        kerb = ~raised & (np.abs(road.lateral) > style.half_road) & ~road.junction[:, None]
        lateral = np.where(raised, walk.lateral, road.lateral)
        side = np.abs(lateral)
        green = self._green(walk, lateral, side, raised)
        paved = (raised & ~green) | kerb
        label = np.where(paved, SIDEWALK, ROAD).astype(np.uint8)
        label[green] = TERRAIN
        color = buffer.color[top:, :, :3]
        self._texture(color, lateral, walk.s, 0, None)
        self._markings(color, road)
        self._texture(color, lateral, walk.s, 1, paved)
        self._texture(color, lateral, walk.s, 2, green)
        edge = paved & (side < style.half_road + 0.16)
        color[edge] = self.kerb
        color[kerb] = self.kerb * 0.6
        buffer.label[top:] = label
        depth = np.where(raised, walk.depth[:, None], road.depth[:, None])
        buffer.inverse_depth[top:] = 1 / depth

    def _green(
        self, plane: '_Plane', lateral: np.ndarray, side: np.ndarray, raised: np.ndarray
    ) -> np.ndarray:
        """Mask of the grass: the strip along the kerb, gardens and parks."""
        style = self.street.style
        green = np.zeros(raised.shape, bool)
        far = side > style.front + 0.15
        for sign in (-1, 1):
            garden = np.array([b.kinds[sign] in ('houses', 'park') for b in plane.blocks])
            rows = garden[plane.owner] & ~plane.corner
            green |= far & rows[:, None] & ((lateral > 0) == (sign > 0))
        if style.strip:
            strip = (side > style.half_road + 0.3) & (side < style.half_road + style.strip)
            green |= strip & ~plane.corner[:, None]
        return green & raised

    def _texture(
        self,
        color: np.ndarray,
        lateral: np.ndarray,
        s: np.ndarray,
        which: int,
        mask: np.ndarray | None,
    ) -> None:
        """Sample a tiled texture in bands of rows, each from the level for its distance."""
        scale = TEXELS / TILE
        step = np.abs(np.gradient(s)) if len(s) > 1 else np.ones(1)
        grain = np.sqrt(step * np.abs(lateral[:, 1] - lateral[:, 0]) + 1e-9) * scale
        level = np.clip(np.floor(np.log2(np.maximum(grain, 1))), 0, 5).astype(int)
        for n in np.unique(level):
            rows = np.flatnonzero(level == n)
            band = slice(rows[0], rows[-1] + 1)
            if mask is not None and not mask[band].any():
                continue
            u = lateral[band] * np.float32(scale / 2**n)
            v = np.mod(s[band], TILE) * (scale / 2**n)
            v = np.broadcast_to(v[:, None].astype(np.float32), u.shape)
            texture = self.levels[which][n]
            found = cv2.remap(texture, u, v, cv2.INTER_LINEAR, borderMode=cv2.BORDER_WRAP)
            if mask is None:
                color[band] = found
            else:
                np.copyto(color[band], found, where=mask[band, :, None])

    def _markings(self, color: np.ndarray, road: '_Plane') -> None:
        style = self.street.style
        paint = np.zeros(road.lateral.shape, np.float32)
        blur = road.depth[:, None] / road.focal
        dashed = (np.mod(road.s, 9.0) < 4.5) | (style.seed % 3 == 0)
        open_road = ~road.zebra & ~road.junction
        _stripe(paint, road.lateral, 0.0, 0.07, blur, dashed & open_road)
        for sign, parking in ((-1, style.parking[0]), (1, style.parking[1])):
            if style.seed % 2 or parking:
                at = sign * (style.lane + style.margin * 0.8)
                _stripe(paint, road.lateral, at, 0.06, blur, open_road)
        _stripe(paint, road.lateral, style.lane / 2, style.lane / 2 - 0.2, blur, road.stop)
        rows = np.flatnonzero(road.zebra)
        if len(rows):
            bars = np.abs(np.mod(road.lateral[rows], 1.0) - 0.5) - 0.25
            cover = np.clip(0.5 - bars / np.maximum(blur[rows], 0.02), 0, 1)
            cover[np.abs(road.lateral[rows]) > style.half_road - 0.3] = 0
            paint[rows] = np.maximum(paint[rows], cover)
        if style.tracks:
            rails = np.zeros_like(paint)
            for at in (-1, 1):
                for gauge in (-0.72, 0.72):
                    _stripe(rails, road.lateral, at * style.lane / 2 + gauge, 0.05, blur, None)
            _blend(color, rails * 0.85, (66, 64, 66))
        _blend(color, paint * 0.82, (226, 224, 214))


def _stripe(
    paint: np.ndarray,
    lateral: np.ndarray,
    at: float,
    half: float,
    blur: np.ndarray,
    rows: np.ndarray | None,
) -> None:
    """Add a line of half width `half` metres at lateral `at`, antialiased over a pixel."""
    use = slice(None) if rows is None else np.flatnonzero(rows)
    edge = (half - np.abs(lateral[use] - at)) / blur[use] + 0.5
    limit = np.minimum(1.0, 2 * half / blur[use])
    paint[use] = np.maximum(paint[use], np.clip(edge, 0, limit))


def _blend(color: np.ndarray, cover: np.ndarray, paint: Color) -> None:
    rows, columns = np.nonzero(cover > 0.02)
    share = cover[rows, columns, None]
    old = color[rows, columns]
    color[rows, columns] = old + (np.asarray(paint, np.float32) - old) * share


class _Plane:
    """Intersections of the rays of all pixels below the horizon with the plane at height z."""

    def __init__(
        self,
        street: Street,
        camera: DriveCamera,
        rows: np.ndarray,
        across: np.ndarray,
        z: float,
    ) -> None:
        self.focal = camera.focal
        height = max(camera.z - z, 0.05)
        self.depth = np.minimum(camera.focal * height / rows, FARTHEST).astype(np.float32)
        self.s = camera.s + self.depth
        offset = (camera.y - street.centre(self.s)).astype(np.float32)
        self.lateral = self.depth[:, None] * across + offset[:, None]
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


def _pyramid(texture: np.ndarray) -> list[np.ndarray]:
    levels = [texture]
    for _ in range(5):
        size = levels[-1].shape[0] // 2
        levels.append(cv2.resize(levels[-1], (size, size), interpolation=cv2.INTER_AREA))
    return levels
