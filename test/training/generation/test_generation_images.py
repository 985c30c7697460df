"""Pictures from a real diffusion pipeline with random weights."""

import json

import numpy as np
import pytest
import torch

from dgss_core.cli import main
from dgss_core.errors import DgssError
from dgss_core.images.frames import read_image
from dgss_core.training.generation.images import Drawing, Painter

pytest.importorskip('diffusers', reason='needs pip install dgss_ros[generate]')


@pytest.fixture(scope='module')
def pipeline(tmp_path_factory):
    from tiny_models import diffusion_pipeline

    return diffusion_pipeline(tmp_path_factory.mktemp('pipeline'))


@pytest.fixture
def prompts(tmp_path):
    path = tmp_path / 'prompts.jsonl'
    lines = [{'prompt': 'a road', 'condition': 'rain'}, {'prompt': 'a tram', 'condition': 'night'}]
    path.write_text(''.join(json.dumps(line) + '\n' for line in lines))
    return path


def command(prompts, pipeline, output, *more):
    options = ['--count', '3', '--steps', '2', '--size', '48x32', '--model', pipeline]
    return main(['generate', 'images', str(prompts), '--output', str(output), *options, *more])


def entries(output):
    return [json.loads(line) for line in (output / 'images.jsonl').read_text().splitlines()]


def test_pictures_are_written_and_described(prompts, pipeline, tmp_path, capsys):
    output = tmp_path / 'out'
    assert command(prompts, pipeline, output, '--batch', '2') == 0
    assert '3 of 3 pictures (3 new)' in capsys.readouterr().out
    files = ['images/000000_rain.png', 'images/000001_night.png', 'images/000002_rain.png']
    found = entries(output)
    assert [e['file'] for e in found] == files
    assert [e['prompt'] for e in found] == ['a road', 'a tram', 'a road']
    assert len({e['image_seed'] for e in found}) == 3
    assert found[0]['steps'] == 2
    assert found[0]['guidance'] == 7.5
    pictures = [read_image(output / file) for file in files]
    assert {p.shape for p in pictures} == {(32, 48, 3)}
    assert np.abs(pictures[0].astype(int) - pictures[2]).mean() > 1, 'same prompt, another seed'


def test_only_missing_or_broken_pictures_are_made_again(prompts, pipeline, tmp_path, capsys):
    output = tmp_path / 'out'
    assert command(prompts, pipeline, output) == 0
    first = {path.name: path.read_bytes() for path in (output / 'images').iterdir()}
    kept = (output / 'images' / '000000_rain.png').stat().st_mtime_ns
    (output / 'images' / '000001_night.png').write_bytes(first['000001_night.png'][:100])
    (output / 'images' / '000002_rain.png').unlink()
    assert command(prompts, pipeline, output) == 0
    assert '3 of 3 pictures (2 new)' in capsys.readouterr().out
    assert {path.name: path.read_bytes() for path in (output / 'images').iterdir()} == first
    assert (output / 'images' / '000000_rain.png').stat().st_mtime_ns == kept
    assert command(prompts, '/nowhere', tmp_path / 'out') == 2, 'another model, other pictures'
    assert 'was begun with model' in capsys.readouterr().err


def test_a_picture_is_a_function_of_its_seed(pipeline):
    painter = Painter(Drawing(pipeline, steps=2, size=(32, 32)))
    assert type(painter.pipeline.scheduler).__name__ == 'EulerDiscreteScheduler'
    both = painter(['a road', 'a road'], [1, 2])
    alone = painter(['a road'], [2])
    assert np.abs(both[1].astype(int) - alone[0]).max() <= 1
    assert np.abs(both[0].astype(int) - both[1]).mean() > 1


def test_empty_pictures_are_left_out(prompts, pipeline, tmp_path, capsys, monkeypatch):
    class Overflowing(Painter):
        """Weights that overflow, like those of Stable Diffusion 2.1 in half precision."""

        def __init__(self, drawing):
            super().__init__(drawing)
            torch.nn.init.constant_(self.pipeline.vae.decoder.conv_out.bias, torch.nan)

    monkeypatch.setattr('dgss_core.training.generation.images.Painter', Overflowing)
    assert command(prompts, pipeline, tmp_path / 'out') == 1
    assert '3 came out in one colour' in capsys.readouterr().out
    assert not (tmp_path / 'out' / 'images').exists()


@pytest.mark.parametrize('drawing', [{'size': (30, 32)}, {'steps': 0}, {'size': (0, 0)}])
def test_wrong_sizes_and_steps_are_refused(drawing):
    with pytest.raises(DgssError, match='sides that 8 divides'):
        Drawing(**drawing)


def test_mistakes(prompts, pipeline, tmp_path, capsys):
    assert command(prompts, pipeline, tmp_path / 'out', '--size', '[32,48]') == 2
    assert 'write WIDTHxHEIGHT' in capsys.readouterr().err
    assert command(tmp_path / 'none.jsonl', pipeline, tmp_path / 'out') == 2
    assert 'dgss generate prompts' in capsys.readouterr().err
    assert command(prompts, str(tmp_path / 'empty'), tmp_path / 'out') == 2
    assert 'cannot be loaded as' in capsys.readouterr().err
    prompts.write_text('{"prompt": "a road", "condition": "hail"}\n')
    assert command(prompts, pipeline, tmp_path / 'out') == 2
    assert 'line 1, needs a "prompt"' in capsys.readouterr().err


def test_pickled_weights_are_not_read(pipeline, tmp_path, capsys, prompts):
    import shutil

    from safetensors.torch import load_file

    folder = tmp_path / 'pickled'
    shutil.copytree(pipeline, folder)
    weights = folder / 'unet' / 'diffusion_pytorch_model.safetensors'
    torch.save(load_file(weights), weights.with_suffix('.bin'))
    weights.unlink()
    assert command(prompts, str(folder), tmp_path / 'out') == 2
    assert 'cannot be loaded' in capsys.readouterr().err
