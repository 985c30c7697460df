"""From the name of a published checkpoint to masks of the node, from a server on this machine."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from camera import Camera
from famix_file import as_famix
from hosting import Host, hosting, without_proxy
from rclpy.node import Node
from services import ask
from small_systems import CLIP_RESNET, SIZES, loud

from dgss_core.cli import main
from dgss_core.runtime.bundle import open_bundle
from dgss_core.synthetic import StreetDrive
from dgss_ros.node.messages import to_mask

torch = pytest.importorskip('torch')
pytestmark = pytest.mark.ros
WIDTH, HEIGHT = 96, 64
DAYS = ('day', 'night')
OPTIONS = json.dumps({**SIZES['famix'], 'encoder_options': CLIP_RESNET})
TUTORIAL = Path(__file__).parents[2] / 'docs' / 'from-published.md'


def commands(name: str, output: Path) -> list[list[str]]:
    """The three commands of the tutorial, with another checkpoint, folder and size."""
    lines = [line.split() for line in TUTORIAL.read_text().splitlines() if line.startswith('    ')]
    changes = {
        'soma-citys-1024': name,
        'soma': str(output),
        'bundle:=$PWD/soma': f'bundle:={output}',
        '1024x512': f'{WIDTH}x{HEIGHT}',
        'fp16': 'fp32',
    }
    return [[changes.get(word, word) for word in line] for line in lines[:3]]


@pytest.fixture
def catalog(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A small FAMix on a server, in a catalog of its own."""
    without_proxy(monkeypatch)
    frames = [StreetDrive(1, name, width=WIDTH, height=HEIGHT).frame(0).image for name in DAYS]
    model = loud('famix-rn50', torch.from_numpy(np.stack(frames)).permute(0, 3, 1, 2).float())
    torch.save({'model_state': as_famix(model.state_dict())}, tmp_path / 'w.pth')
    with hosting() as host:
        address = host.serve('/GTAV%2BX/w.pth', (tmp_path / 'w.pth').read_bytes(), cut=20_000)
        path = tmp_path / 'own.yaml'
        path.write_text(f"""\
title: a stand-in
checkpoints:
  small-famix:
    address: {address}
    system: famix-rn50
    options: {OPTIONS}
    mean: [0.48, 0.46, 0.41]
    std: [0.27, 0.26, 0.28]
    trained_on: [urbansyn]
    licence: apache-2.0
    code: apache-2.0
    recipe: {{window: 512, stride: 341}}
    figures: [{{data: made up, miou: 12.5, protocol: none}}]
""")
        yield path, host


def run(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    assert main(['published', *map(str, arguments)]) == 0
    printed = capsys.readouterr()
    return printed.out + printed.err


@pytest.mark.slow
def test_three_commands_lead_from_nothing_to_masks(
    catalog: tuple[Path, Host],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    start_node,
    ros: Node,
    camera: Camera,
) -> None:
    own, host = catalog
    output, folder = tmp_path / 'bundle', tmp_path / 'store'
    to = ('--own', own, '--folder', folder)
    first, second, third = commands('small-famix', output)
    assert first[:3] == ['dgss', 'published', 'bundle']
    command = (*first[2:], *to)
    assert 'small-famix' in run(capsys, 'list', '--licence', 'commercial', *to)
    assert main(['published', *map(str, command)]) == 2
    assert 'pass --yes' in capsys.readouterr().err
    assert host.requests == []
    printed = run(capsys, *command, '--yes')
    assert 'trained on UrbanSyn: CC BY-SA 4.0' in printed
    assert f'{output} is ready' in printed
    # Cut once, and resumed.
    assert [asked for _, _, asked in host.requests] == ['', 'bytes=20000-']
    manifest = open_bundle(output).manifest
    assert manifest.name == 'small-famix'
    assert manifest.mean == (0.48, 0.46, 0.41)
    assert manifest.licence.startswith('Apache-2.0')
    assert manifest.origin["publisher's test"] == 'windows of 512 pixels in steps of 341'
    assert manifest.origin['published mIoU'] == 'made up 12.5 (none)'
    before = (output / 'manifest.json').stat().st_mtime_ns
    again = run(capsys, *command)
    assert 'is converted already' in again
    assert 'is that bundle already' in again
    assert len(host.requests) == 2
    assert (output / 'manifest.json').stat().st_mtime_ns == before

    assert second == ['dgss', 'engine', 'build', '--bundle', str(output)]
    assert third[:4] == ['ros2', 'launch', 'dgss_ros', 'segment.launch.py']
    assert f'bundle:={output}' in third
    start_node(bundle=output, autostart=True)
    camera.subscribe('mask')
    image = StreetDrive(1, 'day', width=WIDTH, height=HEIGHT).frame(0).image
    camera.connect(image)
    mask = to_mask(camera.answer(image)['mask'])
    assert mask.shape == (HEIGHT, WIDTH)
    from dgss_core.export.network import DeployedNetwork
    from dgss_core.networks.checkpoint import load_checkpoint

    model = load_checkpoint(folder / 'small-famix' / 'small-famix.safetensors')
    with torch.no_grad():
        ids = DeployedNetwork(model)(torch.from_numpy(image)[None]).mask[0].numpy()
    assert len(np.unique(mask)) > 2
    assert (mask == ids).mean() > 0.9
    assert 'small-famix@' in ask(ros, 'reload').message


def test_what_is_wrong_is_said_before_anything_is_fetched(
    catalog: tuple[Path, Host], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    own, host = catalog
    output = tmp_path / 'bundle'
    mine = tmp_path / 'mine'
    mine.mkdir()
    (mine / 'notes.txt').write_text('keep')
    for arguments, says in (
        (('small-famix', '--output', output, '--size', '96'), 'write WIDTHxHEIGHT'),
        (('small-famix', '--output', mine, '--overwrite'), 'is not a bundle'),
        (('dinov2-l', '--output', output), 'is an encoder'),
        (('vltseg', '--output', output), 'did you mean'),
        (('rein-dinov2-l-synthetic-citys16', '--output', output), 'give --image-size 512 or'),
        (('tqdm-clip-b-gta', '--output', output), 'no importer reads its layout'),
        (('famix-rn50-gta', '--output', output), 'is fetched by hand from https://drive'),
        (
            ('small-famix', '--output', output, '--mirror', tmp_path / 'none', '--yes'),
            'There is no',
        ),
    ):
        command = ['published', 'bundle', *map(str, arguments)]
        assert main([*command, '--own', str(own), '--folder', str(tmp_path / 'store')]) == 2
        error = capsys.readouterr().err.strip().splitlines()[-1]
        assert error.startswith('dgss: error: ')
        assert says in error
    assert host.requests == []
    assert (mine / 'notes.txt').read_text() == 'keep'
    assert not output.exists()
