"""What runs is what was hashed: every file is listed, and none is exchanged on the way."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import cv2
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from probe import reference_frame, write_probe_bundle
from small_networks import add_higher, write_classifier

from dgss_core.errors import DgssError
from dgss_core.runtime.backends import load_backend
from dgss_core.runtime.bundle import MANIFEST, MASK, Bundle, open_bundle
from dgss_core.runtime.bundle.writing import update_manifest
from dgss_core.runtime.roofline import layers_of

BACKENDS = ['onnxruntime', *(['openvino'] if find_spec('openvino') else [])]
CONFIDENT = 200
"""Green of the reference frames, which is also their confidence."""


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def relist(folder: Path, **files: bytes) -> Bundle:
    """Write `files` (underscores for slashes and dots) and list them in the manifest."""
    data = json.loads((folder / MANIFEST).read_text())
    for name, content in files.items():
        path = folder / name.replace('__', '/').replace('_', '.')
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content)
        listed = path.relative_to(folder).as_posix()
        if listed == 'model.onnx':
            data['sha256'] = sha256(content)
        else:
            data['files'][listed] = sha256(content)
    (folder / MANIFEST).write_text(json.dumps(data))
    return open_bundle(folder)


def shifted(location: str) -> bytes:
    """A network whose mask is red plus the largest weight in the file `location`."""
    node, constant = helper.make_node, helper.make_tensor
    weights = onnx.TensorProto(name='weights', data_type=TensorProto.FLOAT, dims=[1000])
    weights.data_location = onnx.TensorProto.EXTERNAL
    for key, value in (('location', location), ('offset', '0'), ('length', '4000')):
        weights.external_data.add(key=key, value=value)
    images = ['batch', 48, 64]
    info = helper.make_tensor_value_info
    graph = helper.make_graph(
        [
            node('ReduceMax', ['weights'], ['largest'], keepdims=0),
            node('Gather', ['images', 'zero'], ['red'], axis=3),
            node('Cast', ['red'], ['float'], to=TensorProto.FLOAT),
            node('Add', ['float', 'largest'], ['sum']),
            node('Cast', ['sum'], ['mask'], to=TensorProto.UINT8),
            node('Gather', ['images', 'one'], ['confidence'], axis=3),
        ],
        'shifted',
        [info('images', TensorProto.UINT8, [*images, 3])],
        [info(name, TensorProto.UINT8, images) for name in ('mask', 'confidence')],
        [
            constant('zero', TensorProto.INT64, [], [0]),
            constant('one', TensorProto.INT64, [], [1]),
            weights,
        ],
    )
    opsets = [helper.make_opsetid('', 18)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=9).SerializeToString()


def values(value: float) -> bytes:
    return np.full(1000, value, np.float32).tobytes()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    frame = reference_frame('day_0', 32)
    frame.image[..., 1] = CONFIDENT
    frame.confidence[:] = CONFIDENT
    return write_probe_bundle(tmp_path / 'probe', frames=[frame])


def first_id(bundle: Bundle, backend: str, cache: Path) -> int:
    image = np.zeros((1, 48, 64, 3), np.uint8)
    loaded = load_backend(bundle, backend, cache_dir=cache, allow_unverified=True)
    return int(loaded.run(image)[MASK].max())


@pytest.mark.parametrize(
    'name', ['weights.bin', 'model.onnx.data', 'frames/night_0.png', 'fp32/model.onnx', '.hidden']
)
def test_a_file_that_the_manifest_does_not_list_is_refused(folder: Path, name: str) -> None:
    (folder / name).parent.mkdir(exist_ok=True)
    (folder / name).write_bytes(b'anything')
    with pytest.raises(DgssError, match=f'holds {name}, which its manifest does not list; remove'):
        open_bundle(folder)


@pytest.mark.parametrize('backend', BACKENDS)
@pytest.mark.parametrize(
    'name', ['weights_bin', 'model_onnx_data', 'frames__w_bin', 'bf16__w_bin']
)
def test_weights_change_the_identity_or_are_not_found(
    folder: Path, tmp_path: Path, backend: str, name: str
) -> None:
    location = name.replace('__', '/').replace('_', '.')
    prints = set()
    for value in (3.0, 9.0):
        files = {'model_onnx': shifted(location), name: values(value)}
        bundle = relist(folder, **files)
        prints.add(bundle.fingerprint)
        if '/' in location:
            with pytest.raises(DgssError, match='cannot be loaded by'):
                first_id(bundle, backend, tmp_path / 'cache')
        else:
            assert first_id(bundle, backend, tmp_path / 'cache') == value
    assert len(prints) == (1 if '/' in location else 2)


@pytest.mark.parametrize('backend', BACKENDS)
@pytest.mark.parametrize('where', ['beside', 'absolute', 'working folder'])
def test_weights_outside_the_bundle_are_not_found(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, backend: str, where: str
) -> None:
    (tmp_path / 'weights.bin').write_bytes(values(3))
    monkeypatch.chdir(tmp_path)
    locations = {'beside': '../weights.bin', 'absolute': str(tmp_path / 'weights.bin')}
    bundle = relist(folder, model_onnx=shifted(locations.get(where, 'weights.bin')))
    with pytest.raises(DgssError, match='cannot be loaded by') as error:
        first_id(bundle, backend, tmp_path / 'cache')
    assert '\n' not in str(error.value)


@pytest.mark.skipif(not find_spec('openvino'), reason='needs a backend that is proven')
def test_a_proof_does_not_count_for_other_weights(folder: Path, tmp_path: Path) -> None:
    cache = {'cache_dir': tmp_path / 'cache'}
    good = relist(folder, model_onnx=shifted('weights.bin'), weights_bin=values(-30))
    load_backend(good, 'openvino', **cache)
    bad = relist(folder, weights_bin=values(9))
    with pytest.raises(DgssError, match='is refused, because its answers'):
        load_backend(bad, 'openvino', **cache)


def test_the_fingerprints_of_one_and_two_files_stay_as_they_were(folder: Path) -> None:
    bundle = open_bundle(folder)
    assert bundle.fingerprint == bundle.manifest.sha256
    two = relist(folder, model_onnx_data=b'weights')
    joined = f'{two.manifest.sha256}{sha256(b"weights")}'
    assert two.fingerprint == sha256(joined.encode())
    assert open_bundle().identity == 'street-mobilenetv2@1453812b'


@pytest.mark.parametrize('backend', BACKENDS)
@pytest.mark.parametrize('name', ['model.onnx', 'weights.bin'])
def test_a_file_exchanged_after_the_check_is_not_run(
    folder: Path, tmp_path: Path, backend: str, name: str
) -> None:
    bundle = relist(folder, model_onnx=shifted('weights.bin'), weights_bin=values(3))
    (folder / name).write_bytes(shifted('other.bin') if name == 'model.onnx' else values(9))
    with pytest.raises(DgssError, match=f'{name} is not the file its manifest describes'):
        first_id(bundle, backend, tmp_path / 'cache')
    with pytest.raises(DgssError, match=f'{name} is not the file its manifest describes'):
        layers_of(bundle)


@pytest.mark.parametrize('backend', BACKENDS)
def test_a_file_exchanged_while_it_is_loaded_is_not_run(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, backend: str
) -> None:
    """The exchange happens after the last comparison and before the library reads the file."""
    bundle = relist(folder, model_onnx=shifted('weights.bin'), weights_bin=values(3))
    from dgss_core.runtime.bundle import contents

    compare = contents.require_equal

    def exchange(path: Path, *sums: str) -> None:
        compare(path, *sums)
        if path.name == 'weights.bin':
            path.write_bytes(values(9))

    monkeypatch.setattr(contents, 'require_equal', exchange)
    assert first_id(bundle, backend, tmp_path / 'cache') == 3


@pytest.mark.parametrize('kind', ['', '.mask', '.confidence'])
def test_an_exchanged_reference_frame_is_refused(folder: Path, kind: str) -> None:
    bundle = open_bundle(folder)
    other = write_probe_bundle(folder.with_name('other'), frames=[reference_frame('day_0', 96)])
    path = Path('frames') / f'day_0{kind}.png'
    (folder / path).write_bytes((other / path).read_bytes())
    with pytest.raises(DgssError, match=f'{path.name} is not the file its manifest describes'):
        bundle.frames()


@pytest.mark.parametrize('kind', ['', '.mask', '.confidence'])
def test_a_damaged_reference_frame_takes_no_memory(
    folder: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = folder / 'frames' / f'day_0{kind}.png'
    data = path.read_bytes()
    # A chunk of 2 GiB before the pixels.
    path.write_bytes(data[:33] + b'\x7f\xff\xff\xfftEXt' + data[33:])
    manifest = json.loads((folder / MANIFEST).read_text())
    manifest['files'][f'frames/{path.name}'] = sha256(path.read_bytes())
    (folder / MANIFEST).write_text(json.dumps(manifest))
    decode = cv2.imdecode
    sizes: list[int] = []

    def counted(data: np.ndarray, flags: int) -> np.ndarray:
        sizes.append(data.size)
        return decode(data, flags)

    monkeypatch.setattr(cv2, 'imdecode', counted)
    with pytest.raises(DgssError, match=f'{path.name} is damaged; export the bundle again'):
        open_bundle(folder).frames()
    assert path.stat().st_size not in sizes


@pytest.mark.parametrize('name', ['model.onnx', 'frames/day_0.png', 'frames'])
def test_a_link_that_leaves_the_bundle_is_refused(folder: Path, name: str) -> None:
    outside = folder.with_name('outside')
    (folder / name).rename(outside)
    (folder / name).symlink_to(outside)
    with pytest.raises(DgssError, match='is a link that leaves the bundle; copy the file itself'):
        open_bundle(folder)


def test_a_bundle_behind_a_link_opens(folder: Path, tmp_path: Path) -> None:
    (tmp_path / 'link').symlink_to(folder)
    assert open_bundle(tmp_path / 'link').identity == open_bundle(folder).identity


@pytest.mark.parametrize('make', [os.mkfifo, Path.mkdir])
def test_what_is_no_file_is_refused_without_a_wait(
    folder: Path, make: Callable[[Path], None]
) -> None:
    bundle = open_bundle(folder)
    (folder / 'model.onnx').unlink()
    make(folder / 'model.onnx')
    with pytest.raises(DgssError, match=r'lacks model\.onnx'):
        open_bundle(folder)
    with pytest.raises(DgssError, match='cannot be copied to be loaded'):
        load_backend(bundle, 'onnxruntime')


def test_a_higher_precision_must_be_the_one_that_is_listed(tmp_path: Path) -> None:
    broken = write_classifier(tmp_path / 'broken', precision='fp16', noise=0.3)
    bundle = add_higher(broken, 'fp32')
    lines: list[str] = []
    options = {'cache_dir': tmp_path / 'cache', 'report': lines.append}
    inside = open_bundle(bundle.folder / 'fp32')
    load_backend(bundle, 'onnxruntime', **options)
    assert lines[-1].startswith(f'Runs {inside.identity} on ')
    assert inside.identity.partition('@')[2] != bundle.identity.partition('@')[2]
    update_manifest(inside, producer='another')
    with pytest.raises(DgssError, match=r'fp32/manifest\.json is not the file'):
        load_backend(bundle, 'onnxruntime', **options)


def test_without_room_for_the_copy_it_is_one_sentence(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr('tempfile.tempdir', '/proc/none')
    monkeypatch.setattr('dgss_core.runtime.bundle.contents.SHARED_MEMORY', '/proc/none')
    with pytest.raises(DgssError, match=r'cannot be copied to be loaded .*set TMPDIR'):
        load_backend(open_bundle(folder), 'onnxruntime')


@pytest.mark.parametrize('name', ['model.onnx', MANIFEST])
def test_what_stands_in_the_place_of_a_file_is_named(name: str, tmp_path: Path) -> None:
    folder = write_probe_bundle(tmp_path / 'bundle')
    pointer = b'version https://git-lfs.github.com/spec/v1\noid sha256:ab\nsize 3\n'
    for content, says in ((pointer, 'git lfs pull'), (b'<html>', 'an HTML page')):
        (folder / name).write_bytes(content)
        with pytest.raises(DgssError, match=says) as refused:
            open_bundle(folder)
        assert str(folder / name) in str(refused.value)
