"""The size of a report: its pictures shrink, its time lines are thinned."""

import re

import numpy as np
import pytest
from evaluations import Drives
from report_page import Page

from dgss_core.evaluation.report import Picture, build_report
from dgss_core.evaluation.report.write import LARGEST


@pytest.fixture(scope='module')
def drives():
    return Drives(each=2)


@pytest.fixture
def results(drives):
    return drives.results()


def many_pictures(count, width=1280, height=720):
    """Noise does not compress, so that this is the worst case; the arrays are shared."""
    random = np.random.default_rng(0)
    image = random.integers(0, 256, (height, width, 3)).astype(np.uint8)
    mask = random.integers(0, 19, (height // 8, width // 8)).astype(np.uint8)
    return [Picture(place % 8, image, mask, mask, 'worst') for place in range(count)]


def test_500_frames_stay_under_the_limit():
    street = Drives(each=125)
    found = street.results()
    assert len(found['frames']) == 500
    pictures = street.pictures(range(500))
    html = build_report(found, pictures)
    page = Page(html)
    assert len(html.encode()) < LARGEST < 15_000_000
    assert len(page.data['pictures']) == 500


def test_pictures_shrink_until_they_fit(results):
    limit = 1_000_000
    html = build_report(results, many_pictures(24), limit)
    page = Page(html)
    assert limit / 3 < len(html.encode()) < limit
    assert len(page.data['pictures']) == 24
    widths = {int(a['width']) for tag, a in page.elements if tag == 'img' and a.get('src')}
    assert len(widths) == 1
    assert widths < {*range(960)}


def test_what_does_not_fit_at_all_is_counted(results):
    page = Page(build_report(results, many_pictures(24), 200_000))
    shown = len(page.data['pictures'])
    assert 0 < shown < 24
    assert f'{24 - shown} more pictures did not fit' in page.sections['gallery']


def test_no_room_for_any_picture_leaves_the_gallery_out(results):
    page = Page(build_report(results, many_pictures(2), 50_000))
    assert page.data['pictures'] == []
    assert 'gallery' not in page.sections


def test_a_large_image_is_at_most_960_pixels_wide_and_has_its_layers(results):
    page = Page(build_report(results, many_pictures(1)))
    shown = next(a for tag, a in page.elements if tag == 'img' and a.get('src'))
    assert (shown['width'], shown['height']) == ('960', '540')
    assert [*page.data['pictures'][0]['layers']] == ['mask', 'labels', 'error']


def test_a_picture_without_labels_has_a_mask_only(drives, results):
    whole = drives.pictures([0])[0]
    page = Page(build_report(results, [Picture(0, whole.image, whole.mask)]))
    assert [*page.data['pictures'][0]['layers']] == ['mask']


def test_long_drives_keep_their_spikes_and_the_page_small(results):
    flat = dict(results['frames'][0], miou=0.9, confidence=None, shift=None)
    frames = [dict(flat) for _ in range(9000)]
    frames[4321]['miou'] = 0.05
    html = build_report(results | {'frames': frames})
    lane = next(a['d'] for tag, a in Page(html).elements if tag == 'path' and 'thin' in a['class'])
    heights = [float(step.split()[1]) for step in re.split('[ML]', lane)[1:]]
    assert len(heights) <= 1200
    assert max(heights) - min(heights) > 40  # of 56 pixels
    assert len(html) < 2_000_000


def test_thousands_of_drives_do_not_fill_the_page(results):
    frames = [dict(results['frames'][0], drive=f'd{k // 2:04d}') for k in range(8000)]
    scores = {f'd{k:04d}': results['conditions']['day'] for k in range(4000)}
    html = build_report(results | {'frames': frames, 'drives': scores})
    page = Page(html)
    assert len(html) < 5_000_000
    assert len(page.data['timelines']) == 200
    assert '3\u202f800 more drives' in page.sections['timeline']
    assert '3\u202f800 more drives' in page.sections['drives']


def test_more_frames_than_time_lines_hold_are_named(results):
    frames = [dict(results['frames'][0], drive=f'd{k // 9000}') for k in range(27_000)]
    page = Page(build_report(results | {'frames': frames}))
    assert [len(places) for places in page.data['timelines']] == [9000, 9000]
    assert '1 more drive' in page.sections['timeline']
