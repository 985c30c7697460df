import pickle
import weakref

import numpy as np
import pytest

from dgss_core.errors import DgssError
from dgss_core.labels import LabelSet
from dgss_core.synthetic import CONDITIONS, StreetDrive, classes
from dgss_core.synthetic.camera import DriveCamera
from dgss_core.synthetic.weather import transmission, wet
from dgss_core.synthetic.world import street_of

SIZE = {'width': 160, 'height': 96}


@pytest.fixture(scope='module')
def frames():
    """Frame 7 of seed 3 in every condition."""
    return {c: StreetDrive(3, c, **SIZE).frame(7) for c in CONDITIONS}


def test_there_are_six_conditions():
    assert CONDITIONS == ('day', 'dusk', 'night', 'fog', 'rain', 'snow')


@pytest.mark.parametrize('condition', CONDITIONS)
def test_frame_types_and_ranges(frames, condition):
    frame = frames[condition]
    assert frame.image.shape == (96, 160, 3)
    assert frame.image.dtype == np.uint8
    assert frame.image.flags['C_CONTIGUOUS']
    assert frame.labels.shape == frame.depth.shape == (96, 160)
    assert frame.labels.dtype == np.uint8
    assert frame.depth.dtype == np.float32
    assert set(np.unique(frame.labels)) <= {*range(19), 255}
    assert frame.image.std() > 8


@pytest.mark.parametrize('condition', CONDITIONS)
def test_same_arguments_give_the_same_bytes_in_any_order(frames, condition):
    drive = StreetDrive(3, condition, **SIZE)
    drive.frame(400)
    again = drive.frame(7)
    np.testing.assert_array_equal(again.image, frames[condition].image)
    np.testing.assert_array_equal(again.labels, frames[condition].labels)
    np.testing.assert_array_equal(again.depth, frames[condition].depth)


@pytest.mark.parametrize('condition', CONDITIONS[1:])
def test_condition_changes_the_picture_but_not_the_labels(frames, condition):
    np.testing.assert_array_equal(frames[condition].labels, frames['day'].labels)
    np.testing.assert_array_equal(frames[condition].depth, frames['day'].depth)
    difference = np.abs(frames[condition].image.astype(int) - frames['day'].image)
    assert difference.mean() > 5


def test_a_drive_can_be_sent_to_another_process():
    drive = StreetDrive(6, 'rain', **SIZE, fps=5)
    expected = drive.frame(2).image
    sent = pickle.loads(pickle.dumps(drive))
    assert (sent.seed, sent.condition, sent.fps) == (6, 'rain', 5)
    np.testing.assert_array_equal(sent.frame(2).image, expected)


def test_drives_of_one_seed_share_a_street_as_long_as_one_is_in_use():
    day, night = (StreetDrive(11, condition, **SIZE) for condition in ('day', 'night'))
    day.frame(300)
    shared = night.frame(0).image
    assert night.street is day.street
    old, newer = weakref.ref(day.street), [street_of(12), street_of(13)]
    assert StreetDrive(11, 'fog', **SIZE).street is day.street
    del day, night
    assert {street_of(12), street_of(13)} == set(newer)
    assert old() is None
    np.testing.assert_array_equal(StreetDrive(11, 'night', **SIZE).frame(0).image, shared)


def test_seeds_differ():
    a, b = (StreetDrive(seed, **SIZE).frame(0) for seed in (1, 2))
    assert (a.labels != b.labels).mean() > 0.1


def test_classes_over_drives():
    counts = np.zeros(256, int)
    frames = 0
    for seed in range(7):
        drive = StreetDrive(seed, **SIZE)
        for index in range(0, 420, 60):
            present = np.unique(drive.frame(index).labels)
            counts[present] += 1
            frames += 1
    common = [0, 1, 2, 5, 7, 8, 10, 13]
    assert (counts[common] >= 0.8 * frames).all(), counts[:19]
    assert counts[11] >= 0.6 * frames
    assert (counts[:19] > 0).sum() >= 17, counts[:19]


def test_sky_is_exactly_where_depth_is_infinite(frames):
    day = frames['day']
    np.testing.assert_array_equal(np.isinf(day.depth), day.labels == 10)
    assert (day.depth > 0).all()


def test_depth_grows_up_the_road(frames):
    day = frames['day']
    checked = 0
    for labels, depth in zip(day.labels.T, day.depth.T, strict=True):
        road = np.flatnonzero(labels == 0)
        if len(road) > 5:
            assert (np.diff(depth[road]) < 0).all()
            checked += 1
    assert checked > 40


def test_road_depth_is_that_of_a_plane_below_the_camera():
    drive = StreetDrive(3, width=320, height=180)
    camera = drive._camera(0.0)
    frame = drive.frame(0)
    row = 170
    road = frame.labels[row] == 0
    expected = camera.focal * camera.z / (row + 0.75 - camera.cy)
    np.testing.assert_allclose(frame.depth[row][road], expected, rtol=0.01)


def test_transmission_is_five_percent_at_the_visibility():
    depth = np.array([0.0, 40.0, 80.0])
    np.testing.assert_allclose(transmission(depth, 80.0), [1.0, 0.05**0.5, 0.05], rtol=1e-6)


def test_fog_hides_the_far_and_keeps_the_near():
    kept = {'near': [], 'far': []}
    for seed in range(4):
        day, fog = (StreetDrive(seed, c, **SIZE).frame(20) for c in ('day', 'fog'))
        for name, (low, high) in {'near': (4, 14), 'far': (90, 220)}.items():
            band = (day.depth > low) & (day.depth < high) & (day.labels != 255)
            kept[name].append(fog.image[band].std() / day.image[band].std())
    assert np.mean(kept['near']) > 2.5 * np.mean(kept['far'])
    assert np.mean(kept['far']) < 0.3


def test_fog_tends_to_the_one_colour_of_the_air():
    drive = StreetDrive(5, 'fog', **SIZE)
    frame = drive.frame(5)
    # The lens darkens the corners: compare only the middle of the image.
    middle = np.zeros(frame.labels.shape, bool)
    middle[24:72, 40:120] = True
    air = frame.image[middle & (frame.labels == 10)].mean(0)
    far = middle & (frame.depth > 2 * drive.light.visibility) & (frame.labels != 10)
    assert far.sum() > 50
    assert np.abs(frame.image[far].mean(0) - air).max() < 6


@pytest.mark.parametrize('seed', [0, 3, 8, 21])
def test_night_is_darker_than_dusk_and_dusk_than_day(seed):
    day, dusk, night = (
        StreetDrive(seed, c, **SIZE).frame(3).image.mean() for c in ('day', 'dusk', 'night')
    )
    assert night < dusk - 5
    assert dusk < day - 20


def test_head_lamps_light_the_near_road_more_than_the_far():
    near, far = [], []
    for seed in range(6):
        frame = StreetDrive(seed, 'night', **SIZE).frame(0)
        road = frame.labels == 0
        near.append(frame.image[road & (frame.depth < 14)])
        far.append(frame.image[road & (frame.depth > 50)])
    assert np.concatenate(near).mean() > 1.2 * np.concatenate(far).mean()


def test_snow_whitens_the_sidewalk(frames):
    ground = np.isin(frames['day'].labels, (1, 9))
    assert frames['snow'].image[ground].mean() > frames['day'].image[ground].mean() + 20


def test_wet_road_mirrors_what_stands_above_in_the_same_column():
    camera = DriveCamera(width=60, height=80, focal=60.0, cx=30.0, cy=30.0, s=0.0, y=0.0, z=1.4)
    ground = np.zeros((80, 60), bool)
    ground[30:] = True
    radiance = np.full((80, 60, 3), 0.2, np.float32)
    radiance[5:30, 20:28] = (2.0, 0.1, 0.1)
    depth = np.full((80, 60), 500, np.float32)
    depth[30:] = (60 * 1.4 / np.arange(0.5, 50))[:, None]
    image = wet(radiance, ground, depth, camera, np.full((80, 60), 0.5, np.float32))
    np.testing.assert_allclose(image[:30], radiance[:30])
    red, beside = image[34:44, 23:25].mean((0, 1)), image[34:44, 40:50].mean((0, 1))
    assert red[0] > 2 * beside[0]
    assert red[1] < beside[1]
    assert beside.max() < 0.2
    assert image[75:, 23:25].mean() < 0.2


def test_camera_moves_and_things_come_closer():
    drive = StreetDrive(5, **SIZE)
    first, later = drive.frame(0), drive.frame(5)
    assert (first.image != later.image).mean() > 0.5
    assert drive._camera(0.5).s - drive._camera(0.0).s == pytest.approx(4.0, abs=0.6)


def test_static_wall_comes_closer_by_the_ego_motion():
    drive = StreetDrive(4, **SIZE)
    s = [drive._camera(t).s for t in (0.0, 0.5)]
    a, b = drive.frame(0), drive.frame(5)
    building = 2
    nearest = [f.depth[f.labels == building] for f in (a, b)]
    ends = [np.unique(np.round(d, 2), return_counts=True) for d in nearest]
    # A wall across the view has one depth in many pixels: it must reappear nearer.
    flat = [depth for depth, count in zip(*ends[0], strict=True) if count > 100 and depth < 100]
    assert flat
    for depth in flat:
        assert np.abs(nearest[1] - (depth - (s[1] - s[0]))).min() < 0.1


@pytest.mark.parametrize('size', [(33, 47), (161, 75), (64, 200), (32, 32)])
@pytest.mark.parametrize('condition', CONDITIONS)
def test_other_sizes(size, condition):
    frame = StreetDrive(9, condition, width=size[0], height=size[1]).frame(11)
    assert frame.image.shape == (size[1], size[0], 3)
    assert frame.labels.shape == frame.depth.shape == (size[1], size[0])


@pytest.mark.parametrize('seed', [-5, 2**40 + 3])
def test_any_integer_is_a_seed(seed):
    assert StreetDrive(seed, **SIZE).frame(0).image.std() > 8


def test_unknown_condition_names_the_valid_ones():
    with pytest.raises(DgssError, match=r"'hail'.*day, dusk, night, fog, rain, snow"):
        StreetDrive(0, 'hail')


@pytest.mark.parametrize('size', [(31, 100), (100, 8), (0, 0)])
def test_too_small(size):
    with pytest.raises(DgssError, match='at least 32'):
        StreetDrive(0, width=size[0], height=size[1])


def test_rate_must_be_positive():
    with pytest.raises(DgssError, match='fps'):
        StreetDrive(0, fps=0)


def test_class_ids_are_those_of_the_label_set():
    labels = LabelSet.load('cityscapes19')
    ids = {name.replace(' ', '_').upper(): i for i, name in enumerate(labels.names)}
    assert {name: value for name, value in vars(classes).items() if name.isupper()} == ids
