"""`dgss export` from a checkpoint on disk, and its errors."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from exported import trace_once
from foreign_bags import Mcap, images
from small_systems import SIZES, TWO_BLOCKS, small

from dgss_core.cli import main
from dgss_core.networks.checkpoint import About, save_checkpoint
from dgss_core.runtime.backends.onnx_runtime import OnnxRuntimeBackend
from dgss_core.runtime.bundle import open_bundle
from dgss_core.runtime.segmenter import Segmenter

SIZE = ['--height', '61', '--width', '90']


@pytest.fixture(scope='module', autouse=True)
def traced_once(export_root: Path) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        trace_once(patch, export_root)
        yield


@pytest.fixture(scope='module')
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A ViT with low-rank adapters that are not zero."""
    model = small('dgss-dinov2-s', TWO_BLOCKS)
    torch.nn.init.normal_(model.encoder.blocks[0].attention.q.lora_b)
    sizes = {**SIZES['dgss'], 'encoder_options': TWO_BLOCKS}
    path = tmp_path_factory.mktemp('checkpoint') / 'model.safetensors'
    save_checkpoint(model, path, About('dgss-dinov2-s', sizes, licence='MIT'))
    return path


def write_images(folder: Path, *conditions: str, count: int = 3) -> Path:
    rng = np.random.default_rng(0)
    for condition in conditions:
        (folder / condition).mkdir(parents=True)
        for index in range(count):
            image = rng.integers(0, 256, (80, 100, 3), np.uint8)
            cv2.imwrite(str(folder / condition / f'{index}.png'), image)
    return folder


def test_a_checkpoint_becomes_a_bundle(checkpoint: Path, tmp_path: Path, capsys) -> None:
    frames = write_images(tmp_path / 'frames', 'day', 'night')
    options = [*SIZE, '--precision', 'fp16', '--frames', frames]
    source = write_images(tmp_path / 'drive', 'any') / 'any'
    options += ['--source', source, '--name', 'mine', '--output', tmp_path / 'bundle']
    assert main(['export', str(checkpoint), *map(str, options)]) == 0
    printed = capsys.readouterr().out
    assert 'mine@' in printed
    assert '90x61, fp16' in printed
    bundle = open_bundle(tmp_path / 'bundle')
    manifest = bundle.manifest
    assert (manifest.name, manifest.licence, manifest.source.frames) == ('mine', 'MIT', 3)
    assert [frame.name for frame in bundle.frames()] == ['day_0', 'day_1', 'night_0', 'night_1']
    kept, answer = bundle.frames()[0], Segmenter(bundle, OnnxRuntimeBackend(bundle))
    assert (answer(kept.image).mask == kept.mask).mean() > 0.95
    assert b'lora' not in bundle.onnx_path.read_bytes()


@pytest.mark.filterwarnings('error::RuntimeWarning')
def test_a_precision_that_will_be_refused_is_said(tmp_path: Path, capsys) -> None:
    """Activations above the 65504 of fp16, which the norm behind them makes small again."""
    path = tmp_path / 'model.safetensors'
    model = small('dgss-dinov2-s', TWO_BLOCKS)
    with torch.no_grad():
        model.head.fuse[0].weight.mul_(1e6)
    sizes = {**SIZES['dgss'], 'encoder_options': TWO_BLOCKS}
    about = About('dgss-dinov2-s', sizes, licence='MIT', training_data=('gta5', 'own'))
    save_checkpoint(model, path, about)
    options = [*SIZE, '--precision', 'fp16']
    assert main(['export', str(path), '--output', str(tmp_path / 'bundle'), *options]) == 0
    said = capsys.readouterr().err
    assert 'will be run in a higher precision, because a backend refuses it in fp16' in said
    assert '--frames of your own drives' in said
    assert open_bundle(tmp_path / 'bundle').manifest.training_data == ('gta5', 'own')


def test_int8_is_calibrated_on_given_images(
    checkpoint: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    calibration = write_images(tmp_path / 'calibration', 'rain', count=2)
    options = [*SIZE, '--precision', 'int8', '--licence', 'mine']
    options += ['--calibration', str(calibration), '--output', str(tmp_path / 'bundle')]
    assert main(['export', str(checkpoint), *options]) == 0
    manifest = open_bundle(tmp_path / 'bundle').manifest
    assert (manifest.precision, manifest.licence) == ('int8', 'mine')
    assert not caplog.records


def test_frames_may_be_bags_of_several_cameras(checkpoint: Path, tmp_path: Path, capsys) -> None:
    (tmp_path / 'frames' / 'day').mkdir(parents=True)
    made = Mcap(tmp_path / 'frames' / 'day' / 'a.mcap')
    for topic in ('/front/image_raw', '/left/image_raw'):
        made.add(images(4), topic)
    made.close()
    options = [*SIZE, '--licence', 'mine']
    options += ['--frames', str(tmp_path / 'frames'), '--output', str(tmp_path / 'bundle')]
    options += ['--source', str(tmp_path / 'frames' / 'day')]
    assert main(['export', str(checkpoint), *options]) == 2
    assert 'several image topics; name one of /front/image_raw, ' in capsys.readouterr().err
    assert main(['export', str(checkpoint), *options, '--topic', '/left/image_raw']) == 0
    bundle = open_bundle(tmp_path / 'bundle')
    assert [int(frame.image.max()) for frame in bundle.frames()] == [0, 3]
    assert bundle.manifest.source.frames == 4


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (['--precision', 'fp8'], 'fp8'),
        (['--height', '4'], 'cannot have 1024x4 pixels'),
        (['--calibration', '.'], '--calibration is for int8, not fp32'),
        (['--frames', 'EMPTY'], 'holds no folder that is named after a condition'),
        (['--frames', 'nowhere'], 'holds no folder that is named after a condition'),
        (['--source', 'nowhere'], 'There is no nowhere'),
        (['--opset', '7'], 'needs ONNX opset 18 or later, not 7'),
        (['--output', 'EMPTY'], 'already exists; choose another folder or pass --overwrite'),
    ],
)
def test_mistakes_are_one_sentence(
    checkpoint: Path, tmp_path: Path, capsys, options: list[str], message: str
) -> None:
    (tmp_path / 'empty').mkdir()
    given = [str(tmp_path / 'empty') if option == 'EMPTY' else option for option in options]
    output = [] if '--output' in given else ['--output', str(tmp_path / 'bundle')]
    assert main(['export', str(checkpoint), *output, *given]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count('\n') == 1
    assert not (tmp_path / 'bundle').exists()


def test_a_checkpoint_must_exist_and_have_a_licence(tmp_path: Path, capsys) -> None:
    assert main(['export', 'nowhere.safetensors', '--output', str(tmp_path / 'b')]) == 2
    assert 'There is no checkpoint nowhere.safetensors' in capsys.readouterr().err
    path = tmp_path / 'model.safetensors'
    save_checkpoint(small('famix-rn50'), path, About('famix-rn50'))
    assert main(['export', str(path), '--output', str(tmp_path / 'b')]) == 2
    assert 'does not say its licence; give the terms as --licence' in capsys.readouterr().err


def test_only_an_earlier_bundle_is_overwritten(
    checkpoint: Path, tmp_path: Path, capsys, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The folder of the checkpoint, the working folder and other people's folders stay."""
    run, photos = tmp_path / 'runs' / 'ours', tmp_path / 'photos'
    for folder in (run, photos):
        folder.mkdir(parents=True)
        (folder / 'letter').write_text('dear')
    ours = run / 'model.safetensors'
    ours.write_bytes(checkpoint.read_bytes())
    monkeypatch.chdir(run)
    sizes = [*SIZE, '--overwrite']
    for output in (run, Path(), Path('..'), tmp_path, photos, photos / 'letter'):
        before = sorted(tmp_path.rglob('*'))
        assert main(['export', str(ours), '--output', str(output), *sizes]) == 2
        assert 'choose another' in capsys.readouterr().err
        assert sorted(tmp_path.rglob('*')) == before
    bundle = tmp_path / 'bundle'
    for _ in range(2):
        assert main(['export', str(ours), '--output', str(bundle), *sizes]) == 0
    (bundle / 'letter').write_text('dear')
    assert main(['export', str(ours), '--output', str(bundle), *sizes]) == 2
    assert 'is not a bundle (it holds letter)' in capsys.readouterr().err
    assert (bundle / 'letter').read_text() == 'dear'
