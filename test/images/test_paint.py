"""Colours, overlays, legends and contact sheets."""

import numpy as np
import pytest

from dgss_core.images.paint import colorize, contact_sheet, legend, overlay
from dgss_core.labels import Label, LabelSet

STREET = LabelSet.load('cityscapes19')
MASK = np.array([[0, 13, 255]], np.uint8)


def test_colours_are_those_of_the_label_set():
    np.testing.assert_array_equal(
        colorize(MASK, STREET), [[(128, 64, 128), (0, 0, 142), (0, 0, 0)]]
    )


def test_overlay_blends_classes_and_keeps_other_pixels():
    image = np.full((1, 3, 3), 100, np.uint8)
    np.testing.assert_array_equal(
        overlay(image, MASK, STREET, opacity=0.25), [[(107, 91, 107), (75, 75, 110), (100,) * 3]]
    )
    np.testing.assert_array_equal(overlay(image, MASK, STREET, opacity=0), image)
    assert tuple(overlay(image, MASK, STREET, opacity=1)[0, 0]) == (128, 64, 128)
    assert (image == 100).all(), 'the image itself is not touched'
    with pytest.raises(ValueError, match='opacity'):
        overlay(image, MASK, STREET, opacity=2)


@pytest.mark.parametrize('width', [200, 640, 1400])
def test_legend_shows_every_colour_within_its_width(width):
    strip = legend(STREET, width)
    assert strip.shape[1] == width
    shown = set(map(tuple, strip.reshape(-1, 3).tolist()))
    assert shown >= {label.color for label in STREET.labels}


def test_letters_with_marks_are_written_as_their_plain_ones():
    def named(name):
        return legend(LabelSet('set', (Label(0, name, (1, 2, 3)),)))

    assert np.array_equal(
        named('Straße, Fußgänger, façade, Ørsted'), named('Strasse, Fussganger, facade, Orsted')
    )
    assert np.array_equal(named('道路'), named('??')), 'one mark a letter'


def test_sheet_places_images_whole_and_in_order():
    red, green = (np.full((60, 80, 3), c, np.uint8) for c in ((250, 0, 0), (0, 255, 0)))
    tall = np.full((120, 40, 3), (0, 0, 255), np.uint8)
    sheet = contact_sheet(
        [[red, green], [tall]], ['left', 'right'], ['one', 'two'], STREET, cell_width=80
    )
    pixels = {
        c: np.argwhere((sheet == c).all(-1)) for c in ((250, 0, 0), (0, 255, 0), (0, 0, 255))
    }
    assert len(pixels[0, 255, 0]) == 60 * 80
    assert len(pixels[0, 0, 255]) == 60 * 20, 'fitted into the cell, not stretched'
    assert pixels[250, 0, 0][:, 1].max() < pixels[0, 255, 0][:, 1].min()
    assert pixels[250, 0, 0][:, 0].max() < pixels[0, 0, 255][:, 0].min()
    assert sheet.shape[1] == 10 + 2 * 90


def test_sheet_refuses_wrong_numbers_of_images_and_titles():
    image = np.zeros((2, 2, 3), np.uint8)
    with pytest.raises(ValueError, match='at least one'):
        contact_sheet([])
    with pytest.raises(ValueError, match='as many'):
        contact_sheet([[image]], ['a', 'b'])
