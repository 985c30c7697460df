"""Labels refined by real SAM models with random weights, by the rules of CLOUDS."""

import json

import cv2
import numpy as np
import pytest
import torch
from scipy import ndimage

from dgss_core.cli import main
from dgss_core.datasets import build_dataset
from dgss_core.errors import DgssError
from dgss_core.images.frames import read_labels
from dgss_core.networks.checkpoint import About, load_checkpoint, save_checkpoint
from dgss_core.networks.systems import build_system
from dgss_core.training.generation.labels import RefinementConfig, Refiner, as_labels
from dgss_core.training.generation.sam import Sam

pytest.importorskip('transformers', reason='needs pip install dgss_ros[generate]')

SIZE = 48, 64


@pytest.fixture(scope='module', params=['sam', 'sam2'])
def sam(request, tmp_path_factory):
    import tiny_models

    return getattr(tiny_models, request.param)(tmp_path_factory.mktemp(request.param))


def picture() -> np.ndarray:
    """Red encodes the class for the probe bundle: road below, sky above, a car, a sign."""
    red = np.full(SIZE, 10 * 16, np.uint8)
    red[24:] = 0
    red[20:36, 10:30] = 13 * 16
    red[5:9, 50:54] = 7 * 16
    other = np.random.default_rng(0).integers(0, 255, (*SIZE, 2), np.uint8)
    return np.dstack((red, other))


def test_masks_do_not_depend_on_other_prompts(sam):
    points = np.random.default_rng(0).integers(0, 48, (20, 3, 2)).astype(np.float32)
    model = Sam(sam)
    masks, quality = model.masks(picture(), points)
    assert masks.shape == (20, 3, *SIZE)
    assert masks.dtype == bool
    assert quality.shape == (20, 3)
    assert 0 < masks.mean() < 1
    for k in (0, 19):
        alone, its_quality = model.masks(picture(), points[k : k + 1])
        np.testing.assert_allclose(its_quality[0], quality[k], atol=1e-5)
        assert (alone[0] == masks[k]).mean() > 0.999


def test_the_model_is_in_eval_mode(sam):
    model = Sam(sam).model
    assert not any(module.training for module in model.modules())


def test_refined_labels_follow_the_rules(sam):
    """Compare with a second implementation: components, five points, best mask, no overlap."""
    image = picture()
    labels = image[..., 0] // 16
    refiner = Refiner(RefinementConfig(sam, min_area=50), 19, 'cpu')
    target = refiner(image, labels, 3)
    random = np.random.RandomState(_state(3))
    owners, found = [], []
    for label in np.unique(labels):
        parts, count = ndimage.label(labels == label)
        for part in range(1, count + 1):
            y, x = np.nonzero(parts == part)
            if len(y) > 50:
                index = random.choice(len(x), 5, replace=False)
                masks, quality = refiner.sam.masks(image, np.stack((x, y), 1)[None, index])
                owners.append(label)
                found.append(masks[0, quality[0].argmax()])
    assert owners == [0, 10, 13], 'the sign is too small'
    claims = np.sum(found, axis=0)
    expected = np.full(SIZE, 255)
    for label, mask in zip(owners, found, strict=True):
        expected[mask & (claims == 1)] = label
    assert target.classes.tolist() == owners
    assert (as_labels(target) == expected).mean() > 0.999
    assert np.array_equal(as_labels(refiner(image, labels, 3)), as_labels(target))


def _state(seed):
    from dgss_core.training.chance import seed_of

    return seed_of(seed) & 0xFFFFFFFF


def test_the_command_writes_labels_and_sheets(sam, probe_bundle, tmp_path, capsys):
    output = tmp_path / 'out'
    frames = output / 'images'
    frames.mkdir(parents=True)
    for name in ('0_rain', '1_night'):
        cv2.imwrite(str(frames / f'{name}.png'), picture()[..., ::-1])
    command = ['generate', 'labels', str(frames), '--output', str(output), '--sam', sam]
    command += ['--bundle', str(probe_bundle.folder), '--min_area', '50']
    assert main(command) == 0
    assert '2 frames' in capsys.readouterr().out
    teacher = read_labels(output / 'teacher' / '0_rain.png')
    assert np.array_equal(teacher, picture()[..., 0] // 16)
    refined = read_labels(output / 'labels' / '0_rain.png')
    assert set(np.unique(refined)) <= {0, 10, 13, 255}
    sheet = cv2.imread(str(output / 'look' / '0_rain.jpg'))
    assert sheet.shape[1] > 3 * 300
    lines = [json.loads(line) for line in (output / 'labels.jsonl').read_text().splitlines()]
    assert [line['file'] for line in lines] == ['labels/0_rain.png', 'labels/1_night.png']
    assert lines[0]['labelled'] == pytest.approx((refined != 255).mean(), abs=1e-3)

    dataset = build_dataset('generated', output)
    assert [sample.condition for sample in dataset] == ['rain', 'night']
    assert np.array_equal(dataset[0].image, picture())
    assert np.array_equal(dataset[0].labels, refined)

    before = (output / 'labels' / '1_night.png').read_bytes()
    kept = (output / 'labels' / '0_rain.png').stat().st_mtime_ns
    (output / 'labels' / '1_night.png').unlink()
    assert main(command) == 0
    assert '2 frames' in capsys.readouterr().out
    assert (output / 'labels' / '1_night.png').read_bytes() == before
    assert (output / 'labels' / '0_rain.png').stat().st_mtime_ns == kept
    assert main([*command, '--min_area', '60']) == 2
    assert 'begun with min_area 50' in capsys.readouterr().err


def test_a_checkpoint_can_be_the_teacher(sam, tmp_path):
    torch.manual_seed(0)
    model = build_system('dgss-mobilenetv2', width=16)
    checkpoint = tmp_path / 'a.safetensors'
    save_checkpoint(model, checkpoint, About('dgss-mobilenetv2', {'width': 16}))
    cv2.imwrite(str(tmp_path / 'a.png'), picture()[..., ::-1])
    command = ['generate', 'labels', str(tmp_path / 'a.png'), '--output', str(tmp_path / 'out')]
    assert main([*command, '--checkpoint', str(checkpoint), '--sam', sam]) == 0
    pixels = torch.from_numpy(picture()).permute(2, 0, 1)[None].float()
    expected = load_checkpoint(checkpoint).at_size(pixels).argmax(1)[0].numpy()
    assert np.array_equal(read_labels(tmp_path / 'out' / 'teacher' / 'a.png'), expected)
    line = json.loads((tmp_path / 'out' / 'labels.jsonl').read_text())
    assert line['teacher'].startswith('a.safetensors@')


def test_mistakes(tmp_path, capsys):
    with pytest.raises(DgssError, match='distinct points'):
        RefinementConfig('x', min_area=3, points=5)
    cv2.imwrite(str(tmp_path / 'a.png'), picture())
    command = ['generate', 'labels', str(tmp_path / 'a.png'), '--output', str(tmp_path / 'out')]
    assert main([*command, '--checkpoint', 'a.safetensors', '--bundle', 'b']) == 2
    assert 'leave one of them out' in capsys.readouterr().err
    assert main([*command, '--sam', str(tmp_path)]) == 2
    assert 'cannot be loaded' in capsys.readouterr().err
