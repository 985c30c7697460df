"""A texture that is painted later is painted once, whoever asks."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from dgss_core.synthetic.texture import PaintedLater, Texture


def test_threads_that_see_a_texture_first_paint_it_once():
    painted, together = [], threading.Barrier(4)

    def paint() -> Texture:
        time.sleep(0.05)
        painted.append(Texture(np.zeros((8, 8, 4), np.uint8)))
        return painted[-1]

    texture = PaintedLater(paint)

    def see(_: int) -> np.ndarray:
        together.wait(10)
        return texture.level(width=8, height=8)[0]

    with ThreadPoolExecutor(4) as pool:
        seen = list(pool.map(see, range(4)))
    assert len(painted) == 1
    assert all(colors is painted[0].colors for colors in seen)


def test_what_could_not_be_painted_is_tried_again():
    results = iter([MemoryError(), Texture(np.ones((2, 2, 4), np.uint8))])

    def paint() -> Texture:
        result = next(results)
        if isinstance(result, Exception):
            raise result
        return result

    texture = PaintedLater(paint)
    with pytest.raises(MemoryError):
        texture.level(width=2, height=2)
    assert texture.level(width=2, height=2)[0].all()
