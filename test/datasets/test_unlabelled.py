"""Frames without labels from a folder, a video and a bag."""

import cv2
import numpy as np
import pytest

from dgss_core.cli import main
from dgss_core.datasets import build_dataset
from dgss_core.errors import DgssError
from dgss_core.training.augmentation import AugmentedFrames, training_augmentation
from dgss_core.training.augmentation.sampling import Draw


@pytest.fixture
def folder(tmp_path):
    path = tmp_path / 'drive'
    path.mkdir()
    for i in range(5):
        pixels = np.full((48, 64, 3), 50 * i, np.uint8)
        cv2.imwrite(str(path / f'{i}.png'), pixels)
    return path


@pytest.mark.parametrize('kind', ['folder', 'video', 'bag'])
def test_every_second_frame(folder, tmp_path, kind):
    source = folder
    if kind == 'video':
        source = tmp_path / 'drive.avi'
        video = cv2.VideoWriter(str(source), cv2.VideoWriter.fourcc(*'MJPG'), 10, (64, 48))
        for i in range(5):
            video.write(cv2.imread(str(folder / f'{i}.png')))
        video.release()
    elif kind == 'bag':
        source = tmp_path / 'bag'
        assert main(['bag', 'write', str(folder), '--output', str(source)]) == 0
    frames = build_dataset('unlabelled', source, every=2)
    assert len(frames) == 3
    for index, grey in enumerate((0, 100, 200)):
        sample = frames[index]
        assert sample.image.shape == (48, 64, 3)
        assert abs(sample.image.mean() - grey) < 3
        assert (sample.labels == 255).all()
    assert frames.fingerprint == build_dataset('unlabelled', source, every=2).fingerprint
    assert frames.fingerprint != build_dataset('unlabelled', source).fingerprint
    assert (frames.labels(0) == 255).all()


def test_every_source_may_have_an_augmentation_of_its_own(folder):
    frames = build_dataset('unlabelled', folder)
    plain = training_augmentation((48, 64), flip=0, color='none')
    small = training_augmentation((16, 16), flip=0, color='none')
    both = AugmentedFrames([frames, frames], [plain, small])
    assert both[Draw(1, seed=0)][0].shape == (3, 48, 64)
    assert both[Draw(6, seed=0)][0].shape == (3, 16, 16)


def test_mistakes(folder, tmp_path):
    with pytest.raises(DgssError, match='give 1 or more'):
        build_dataset('unlabelled', folder, every=0)
    with pytest.raises(DgssError, match='There is no'):
        build_dataset('unlabelled', tmp_path / 'none')
    with pytest.raises(DgssError, match='no option'):
        build_dataset('unlabelled', folder, labelled=False)
    with pytest.raises(DgssError, match='needs a root'):
        build_dataset('unlabelled')


def test_nothing_of_a_folder_is_left_out_in_silence(folder):
    cv2.imwrite(str(folder / '0.jpg'), np.zeros((48, 64, 3), np.uint8))
    names = [frame.name for frame in build_dataset('unlabelled', folder)]
    assert sorted(names) == ['0_jpg', '0_png', '1', '2', '3', '4']
    (folder / '9.png').symlink_to('gone.png')
    with pytest.raises(DgssError, match=r"9\.png is a link to 'gone\.png', which does not exist"):
        build_dataset('unlabelled', folder)


def test_the_fingerprint_changes_with_an_image(folder):
    before = build_dataset('unlabelled', folder).fingerprint
    cv2.imwrite(str(folder / '1.png'), np.full((24, 32, 3), 7, np.uint8))
    assert build_dataset('unlabelled', folder).fingerprint != before
