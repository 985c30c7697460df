"""Which frames a report shows, and its picture of their errors."""

import numpy as np
import pytest

from dgss_core.evaluation.pictures import (
    Choice,
    choose,
    error_indices,
    error_palette,
)


def frame(condition='day', miou=0.5, pixels=1000, drive='', **values):
    labelled = miou is not None
    return {
        'name': 'x',
        'source': 0,
        'drive': drive,
        'condition': condition,
        'miou': miou,
        'labelled': labelled,
        'labelled_pixels': pixels if labelled else 0,
        'confidence': None,
        **values,
    }


def places(choices, note):
    return [choice.frame for choice in choices if choice.note == note]


def test_the_worst_and_the_typical_frames_of_each_condition():
    scores = [0.9, 0.1, 0.5, 0.2, 0.6, 0.8, 0.55]
    frames = [frame(miou=score) for score in scores] + [frame('night', miou=0.3)]
    chosen = choose(frames, each=2)
    assert places(chosen, 'worst') == [1, 3, 7]
    # The median of all seven is 0.55.
    assert {*places(chosen, 'typical')} <= {2, 4, 6}
    assert len(places(chosen, 'typical')) == 2
    assert chosen[0] == Choice(1, 'worst')


def test_no_frame_is_chosen_twice():
    chosen = choose([frame(miou=0.1 * k) for k in range(6)], each=5)
    assert sorted(choice.frame for choice in chosen) == list(range(6))


def test_a_frame_with_few_labels_is_not_the_worst():
    frames = [frame(miou=0.4), frame(miou=0.0, pixels=20), frame(miou=0.6), frame(miou=0.7)]
    assert places(choose(frames, each=1), 'worst') == [0]


def test_neighbours_in_a_drive_are_not_shown_twice_unless_there_is_nothing_else():
    film = [frame(miou=0.2 + 0.01 * k, drive='a') for k in range(4)]
    far = [frame(miou=0.9, drive='a') for _ in range(4)] + [frame(miou=0.8, drive='a')]
    assert places(choose(film + far, each=2), 'worst')[0] == 0
    assert places(choose(film + far, each=2), 'worst')[1] == 8
    assert places(choose(film, each=2), 'worst') == [0, 1]
    apart = [frame(miou=0.2, drive='a'), frame(miou=0.3, drive='b'), frame(miou=0.9, drive='a')]
    assert places(choose(apart, each=2), 'worst') == [0, 1]


@pytest.mark.parametrize('key', ['agreement', 'confidence'])
def test_without_labels_frames_are_ranked_by_what_there_is(key):
    frames = [frame(miou=None, **{key: value}) for value in (0.9, 0.2, 0.5)]
    assert places(choose(frames, each=1), 'worst') == [1]
    assert choose([frame(miou=None)]) == []


def test_the_error_picture_tells_right_wrong_and_unlabelled_apart():
    mask = np.array([[0, 1, 2, 255, 0, 255]], np.uint8)
    labels = np.array([[0, 2, 2, 1, 255, 255]], np.uint8)
    found = error_indices(mask, labels)
    assert found.tolist() == [[254, 1, 254, 253, 255, 255]]
    colors = np.random.default_rng(0).integers(0, 200, (256, 3)).astype(np.uint8)
    painted = error_palette(colors)[found][0]
    assert (painted[1] == colors[1]).all()
    assert len({*painted[0]}) == len({*painted[5]}) == 1  # grey
    assert painted[0][0] > painted[5][0]
    assert (painted[3] == 255).all()
