"""The light of each condition, and shading in linear radiance."""

from dataclasses import dataclass, replace

import numpy as np

from dgss_core.synthetic.noise import Random, stream, tiled
from dgss_core.synthetic.style import Style

CONDITIONS = ('day', 'dusk', 'night', 'fog', 'rain', 'snow')


@dataclass(frozen=True)
class Light:
    """Radiances are linear RGB; 1 is a white sheet in full sun at the exposure of day."""

    sun: np.ndarray
    toward_sun: np.ndarray
    """Unit vector (s, y, z)."""
    above: np.ndarray
    below: np.ndarray
    """Ambient light from the sky and from the ground."""
    zenith: np.ndarray
    horizon: np.ndarray
    cloud: np.ndarray
    cover: float
    exposure: float = 1.25
    lamps: float = 0.0
    """Gain of windows, vehicle lamps and traffic lights."""
    street_lamps: float = 0.0
    head_lamps: float = 0.0
    lamp_color: tuple[float, float, float] = (1.0, 0.78, 0.5)
    visibility: float = 6000.0
    """Meteorological optical range in metres."""
    noise: float = 1.0
    bloom: float = 0.1


def _rgb(*values: float) -> np.ndarray:
    return np.array(values, np.float32)


def light_of(condition: str, style: Style) -> Light:
    """The light of a condition, varied by the seed."""
    rng = stream(style.seed, 50, CONDITIONS.index(condition))
    day = _day(style, rng)
    if condition == 'day':
        return day
    make = {'dusk': _dusk, 'night': _night, 'fog': _fog, 'rain': _rain, 'snow': _snow}[condition]
    warm = style.lamp_warmth
    lamp = (1.0, 0.72 + 0.2 * (1 - warm), 0.38 + 0.5 * (1 - warm))
    return replace(make(day, style, rng), lamp_color=lamp)


def _night(day: Light, style: Style, rng: Random) -> Light:
    glow = rng.uniform(0.6, 1.6)
    return replace(
        day,
        sun=_rgb(0, 0, 0),
        above=_rgb(0.010, 0.012, 0.019) * glow,
        below=_rgb(0.008, 0.007, 0.006) * glow,
        zenith=_rgb(0.003, 0.004, 0.008) * glow,
        horizon=_rgb(0.022, 0.018, 0.016) * glow,
        cloud=_rgb(0.014, 0.012, 0.011) * glow,
        exposure=rng.uniform(1.1, 1.7),
        lamps=0.95,
        street_lamps=rng.uniform(10, 32),
        head_lamps=rng.uniform(22, 60),
        visibility=3000.0,
        noise=2.4,
        bloom=0.55,
    )


def _overcast(day: Light, gray: np.ndarray) -> Light:
    return replace(
        day,
        sun=_rgb(0, 0, 0),
        above=gray * 1.15,
        below=gray * 0.45,
        zenith=gray * 0.95,
        horizon=gray * 1.2,
        cloud=gray * 0.78,
        cover=0.8,
        lamps=0.8,
        exposure=1.35,
    )


def _gray(rng: Random) -> np.ndarray:
    return rng.uniform(0.3, 0.5) * _rgb(0.98, 1.0, 1.03)


def _fog(day: Light, style: Style, rng: Random) -> Light:
    gray = _gray(rng)
    pale = gray * rng.uniform(1.1, 1.5)
    return replace(
        _overcast(day, gray),
        cover=0.0,
        zenith=pale,
        horizon=pale,
        cloud=pale,
        visibility=rng.uniform(40, 150),
        bloom=0.3,
    )


def _rain(day: Light, style: Style, rng: Random) -> Light:
    gray = _gray(rng)
    dark = rng.uniform(0.6, 0.9)
    return replace(
        _overcast(day, gray),
        above=gray * dark * 1.1,
        below=gray * dark * 0.35,
        visibility=rng.uniform(250, 700),
        noise=1.5,
        bloom=0.25,
    )


def _snow(day: Light, style: Style, rng: Random) -> Light:
    gray = _gray(rng)
    return replace(
        _overcast(day, gray),
        above=gray * 1.1,
        below=gray * 0.8,
        visibility=rng.uniform(150, 450),
        noise=1.3,
    )


def _day(style: Style, rng: Random) -> Light:
    overcast = float(np.clip(style.clouds * 1.6 - 0.9, 0, 0.95))
    a, h = style.sun_azimuth, style.sun_height
    toward = np.array([np.cos(h) * np.cos(a), np.cos(h) * np.sin(a), np.sin(h)])
    blue = _rgb(0.13, 0.27, 0.58) * rng.uniform(0.75, 1.25)
    gray = _rgb(0.55, 0.58, 0.63)
    warm = _rgb(1.0, 0.93 - 0.1 * rng.random(), 0.82 - 0.18 * rng.random())
    return Light(
        sun=warm * (1 - overcast) * rng.uniform(0.8, 1.2),
        toward_sun=toward,
        above=(1 - overcast) * _rgb(0.27, 0.33, 0.42) + overcast * _rgb(0.55, 0.57, 0.6),
        below=_rgb(0.13, 0.125, 0.115),
        zenith=(1 - overcast) * blue + overcast * gray * 0.8,
        horizon=(1 - overcast) * _rgb(0.62, 0.72, 0.84) + overcast * gray * 1.1,
        cloud=_rgb(0.93, 0.93, 0.93) * (1 - 0.45 * overcast),
        cover=style.clouds,
        exposure=rng.uniform(1.35, 1.8),
        lamps=0.35,
        visibility=rng.uniform(1800, 9000),
    )


def _dusk(day: Light, style: Style, rng: Random) -> Light:
    below_horizon = rng.random() < 0.45
    height = np.deg2rad(rng.uniform(3, 9))
    a = style.sun_azimuth
    toward = np.array([np.cos(height) * np.cos(a), np.cos(height) * np.sin(a), np.sin(height)])
    glow = _rgb(0.5, 0.25, 0.12) * rng.uniform(0.5, 1.1)
    dim = 0.68 if below_horizon else 1.0
    return Light(
        sun=_rgb(0.42, 0.2, 0.075) * (0 if below_horizon else rng.uniform(0.7, 1.3)),
        toward_sun=toward,
        above=_rgb(0.135, 0.15, 0.225) * dim,
        below=_rgb(0.06, 0.05, 0.05) * dim,
        zenith=_rgb(0.08, 0.115, 0.24) * dim,
        horizon=glow * dim,
        cloud=_rgb(0.22, 0.12, 0.12) * dim,
        cover=style.clouds,
        exposure=rng.uniform(1.6, 2.5),
        lamps=0.6,
        street_lamps=6.0 if below_horizon else 1.5,
        head_lamps=5.0,
        visibility=2500.0,
        noise=1.6,
        bloom=0.35,
    )


def lamp_light(
    light: Light,
    lamps: list[tuple[float, float, float]],
    position: np.ndarray,
    normal_up: np.ndarray,
) -> np.ndarray:
    """Light of street lamps (h, w, 3): inverse square law under a downward cosine lobe.

    `lamps` are (s, y, z) in metres, `position` (h, w, 3) world points, `normal_up` (h, w) the
    vertical part of the surface normals.
    """
    total = np.zeros(position.shape[:2], np.float32)
    for lamp in lamps:
        to = np.asarray(lamp, np.float32) - position
        squared = (to * to).sum(2) + 0.6
        down = np.clip(to[..., 2], 0, None) / np.sqrt(squared)
        lateral = np.sqrt(np.clip(1 - down * down, 0, 1))
        total += down**0.7 * (normal_up * down + (1 - normal_up) * 0.7 * lateral) / squared
    return total[..., None] * np.array(light.lamp_color, np.float32) * light.street_lamps


def head_light(
    light: Light, across: np.ndarray, rise: np.ndarray, depth: np.ndarray
) -> np.ndarray:
    """Low beam of the ego vehicle (h, w, 1): wide and flat, cut off above the horizon.

    `across` (w,), `rise` (h,): tangents of the directions of columns and rows, up positive. The
    beam falls with the square of the distance and reaches about 50 m (pattern of ECE R112).
    """
    fan = 0.25 * np.exp(-((across / 0.75) ** 2)) + np.exp(-((across / 0.28) ** 2))
    cut = 1 / (1 + np.exp(np.clip((rise - 0.005) / 0.014, -30, 30))) + 0.035
    near = 1 / (1 + np.exp(np.clip((-rise - 0.28) / 0.05, -30, 30)))
    beam = np.outer(cut * near, fan).astype(np.float32)
    return (beam * light.head_lamps / (depth**2 + 12))[..., None]


def sky(
    light: Light, noise: np.ndarray, across: np.ndarray, rise: np.ndarray, drift: float
) -> np.ndarray:
    """Radiance of the sky, float32 (h, w, 3); directions as in `head_light`.

    The clouds lie on a plane overhead and fade into the haze at the horizon.
    """
    up = np.clip(rise, 0.004, None).astype(np.float32)
    height = np.clip(up * 1.8, 0, 1)[:, None, None] ** 0.6
    color = light.horizon * (1 - height) + light.zenith * height
    color = np.repeat(color.astype(np.float32), len(across), 1)
    sun = light.toward_sun
    if light.sun.any() and sun[0] > 0.2:
        dx = across[None, :] - sun[1] / sun[0]
        dz = rise[:, None] - sun[2] / sun[0]
        halo = np.exp(-np.sqrt(dx**2 + dz**2) * 3.5)
        color += (halo[..., None] * light.sun * 0.6).astype(np.float32)
    plane = (60.0 / (up + 0.12))[:, None]
    u = (across[None, :] * plane + drift * 3 + 200).astype(np.float32)
    v = np.broadcast_to(plane, u.shape).astype(np.float32)
    density = tiled(noise, u, v)
    cover = np.clip((density - 1 + light.cover * 1.04) * 2.6, 0, 1)
    cover = (cover * np.clip(up * 9, 0, 0.92)[:, None])[..., None]
    body = light.cloud * (1.12 - 0.35 * density[..., None])
    return color + (body - color) * cover


def expose(radiance: np.ndarray, exposure: float) -> np.ndarray:
    """Film-like response 1 - exp(-x), gamma 2; returns float32 in [0, 255]."""
    return 255 * np.sqrt(1 - np.exp(-exposure * np.maximum(radiance, 0)))
