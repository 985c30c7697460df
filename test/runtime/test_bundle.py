from __future__ import annotations

import json
import resource
import signal
from pathlib import Path

import numpy as np
import pytest

from dgss_core.errors import DgssError
from dgss_core.files import flush
from dgss_core.runtime.backends import load_backend
from dgss_core.runtime.bundle import EMBEDDED, MANIFEST, Bundle, ReferenceFrame, open_bundle
from dgss_core.runtime.bundle.writing import update_manifest, write_bundle
from dgss_core.runtime.monitoring.domain_shift import SourceStatistics


def edit(bundle: Bundle, **changes: object) -> Path:
    path = bundle.folder / MANIFEST
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
    return bundle.folder


def test_a_bundle_opens_as_it_was_written(probe_bundle: Bundle) -> None:
    again = open_bundle(probe_bundle.folder)
    assert again.manifest == probe_bundle.manifest
    assert open_bundle(probe_bundle.folder / MANIFEST).manifest == again.manifest
    assert (again.height, again.width, len(again.labels)) == (48, 64, 19)
    assert again.identity.startswith('probe@')


def test_the_embedded_bundle_is_complete_small_and_names_its_licence() -> None:
    bundle = open_bundle()
    assert bundle.folder == EMBEDDED
    assert sum(file.stat().st_size for file in EMBEDDED.rglob('*')) < 12e6
    assert 'non-commercial' in bundle.manifest.licence
    assert any('CamVid' in data for data in bundle.manifest.training_data)
    load_backend(bundle)


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        ({'schema': 2}, 'schema 2 and this version reads schema 1'),
        ({'height': 0}, 'unusable value for height'),
        ({'width': True}, 'unusable value for width'),
        ({'mean': [1, 2]}, 'unusable value for mean'),
        ({'network': '../../etc/passwd'}, 'unusable value for network'),
        ({'network': '/etc/passwd'}, 'unusable value for network'),
        ({'label_set': {}}, 'is not a label set'),
        ({'surprise': 1}, 'unknown'),
        ({'precision': 'int4'}, 'unusable value for precision'),
        ({'files': {'../a': '0' * 64}}, 'unusable value for files'),
        ({'files': {'/etc/passwd': '0' * 64}}, 'unusable value for files'),
        ({'files': {'a': 'short'}}, 'unusable value for files'),
        ({'files': {'a': '0' * 64}}, 'lacks a'),
        ({'metrics': {'mIoU': 'good'}}, 'unusable value for metrics'),
        ({'metrics': {'mIoU': True}}, 'unusable value for metrics'),
        ({'training_data': ['GTA', 5]}, 'unusable value for training_data'),
        ({'source': {'frames': 2}}, 'source in .* holds no source statistics'),
        ({'sha256': '0' * 64}, 'is not the file its manifest describes'),
    ],
)
def test_a_wrong_manifest_is_refused(probe_bundle: Bundle, changes: dict, message: str) -> None:
    with pytest.raises(DgssError, match=message):
        open_bundle(edit(probe_bundle, **changes))


def test_manifests_from_before_precision_and_files_open(probe_bundle: Bundle) -> None:
    path = probe_bundle.folder / MANIFEST
    data = json.loads(path.read_text())
    del data['precision'], data['files'], data['source']
    path.write_text(json.dumps(data))
    bundle = open_bundle(probe_bundle.folder)
    assert (bundle.manifest.precision, bundle.manifest.files) == ('fp32', {})
    assert bundle.manifest.source is None
    assert bundle.frames() == []


def frame(name: str, size: tuple[int, int] = (48, 64)) -> ReferenceFrame:
    rng = np.random.default_rng(len(name))
    image, mask, confidence = (
        rng.integers(0, 256, (*size, *channels), np.uint8) for channels in ((3,), (), ())
    )
    return ReferenceFrame(name, name.split('_')[0], image, mask, confidence)


def test_reference_frames_come_back_as_they_were(probe_bundle: Bundle, tmp_path: Path) -> None:
    written = [frame('day_0'), frame('day_1'), frame('night_0')]
    network, manifest = probe_bundle.onnx_path, probe_bundle.manifest
    bundle = write_bundle(tmp_path / 'framed', network, manifest, frames=written)
    assert len(bundle.manifest.files) == 9
    for ours, given in zip(bundle.frames(), written, strict=True):
        assert (ours.name, ours.condition) == (given.name, given.condition)
        for key in ('image', 'mask', 'confidence'):
            assert np.array_equal(getattr(ours, key), getattr(given, key))
    (bundle.folder / 'frames' / 'day_0.png').write_bytes(b'')
    with pytest.raises(DgssError, match=r'day_0.png is empty; copy, download or write it again'):
        open_bundle(bundle.folder)
    odd = write_bundle(tmp_path / 'odd', network, manifest, frames=[frame('fog_0', (2, 2))])
    with pytest.raises(DgssError, match='is not 64x48 as the network is'):
        odd.frames()


def test_figures_and_the_source_are_added_later(probe_bundle: Bundle) -> None:
    source = SourceStatistics(2, {'image': (0.5, 0.25)}, {'image': (0.1, 0.2)})
    updated = update_manifest(probe_bundle, metrics={'mIoU': 0.5}, source=source)
    again = open_bundle(probe_bundle.folder)
    assert again == updated
    assert (again.manifest.metrics, again.manifest.source) == ({'mIoU': 0.5}, source)


def test_a_bundle_opens_while_its_manifest_is_changed(
    probe_bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = []

    def flush_slowly(path: Path) -> None:
        opened.append(open_bundle(probe_bundle.folder).manifest.metrics)
        flush(path)

    monkeypatch.setattr('dgss_core.files.flush', flush_slowly)
    update_manifest(probe_bundle, metrics={'mIoU': 0.5})
    assert opened == [{}, {'mIoU': 0.5}]  # flushed before and after the rename


def test_weights_beside_the_network_are_part_of_the_bundle(
    probe_bundle: Bundle, tmp_path: Path
) -> None:
    network = tmp_path / 'model.onnx'
    network.write_bytes(probe_bundle.onnx_path.read_bytes())
    prints = set()
    for index in range(2):
        network.with_name('model.onnx.data').write_bytes(bytes([index]))
        bundle = write_bundle(tmp_path / f'{index}', network, probe_bundle.manifest)
        assert bundle.manifest.sha256 == probe_bundle.manifest.sha256
        prints.add(bundle.fingerprint)
    assert len(prints | {probe_bundle.fingerprint}) == 3


def test_a_missing_or_corrupt_file_is_named(probe_bundle: Bundle, tmp_path: Path) -> None:
    with pytest.raises(DgssError, match='There is no bundle at'):
        open_bundle(tmp_path / 'nowhere')
    data = probe_bundle.onnx_path.read_bytes()
    probe_bundle.onnx_path.write_bytes(data[:-1] + b'x')
    with pytest.raises(DgssError, match='copy or export the bundle again'):
        open_bundle(probe_bundle.folder)
    probe_bundle.onnx_path.unlink()
    with pytest.raises(DgssError, match=r'lacks model\.onnx'):
        open_bundle(probe_bundle.folder)
    (probe_bundle.folder / MANIFEST).write_text('{')
    with pytest.raises(DgssError, match='is not JSON'):
        open_bundle(probe_bundle.folder)


def test_a_file_that_is_no_network_is_refused_by_every_backend(
    probe_bundle: Bundle, tmp_path: Path
) -> None:
    junk = tmp_path / 'junk.onnx'
    junk.write_bytes(b'not a network')
    bundle = write_bundle(tmp_path / 'junk', junk, probe_bundle.manifest)
    with pytest.raises(DgssError, match='cannot be loaded by any backend, because it is no ONNX'):
        load_backend(bundle)


def test_a_network_of_another_size_is_refused_by_the_backend(probe_bundle: Bundle) -> None:
    with pytest.raises(DgssError, match='32x48 needs uint8'):
        load_backend(open_bundle(edit(probe_bundle, width=32)))


def test_unknown_backends_are_refused(probe_bundle: Bundle) -> None:
    with pytest.raises(DgssError, match='use one of auto, onnxruntime'):
        load_backend(probe_bundle, 'onnx')


def test_writing_overwrites_only_on_request(probe_bundle: Bundle) -> None:
    with pytest.raises(DgssError, match='already exists'):
        write_bundle(probe_bundle.folder, probe_bundle.onnx_path, probe_bundle.manifest)
    kept = probe_bundle.onnx_path.with_name('copy.onnx')
    kept.write_bytes(probe_bundle.onnx_path.read_bytes())
    again = write_bundle(probe_bundle.folder, kept, probe_bundle.manifest, overwrite=True)
    assert sorted(path.name for path in again.folder.iterdir()) == [MANIFEST, 'model.onnx']
    assert [path.name for path in again.folder.parent.iterdir() if path.name[0] == '.'] == []


def test_a_backend_takes_any_number_of_images(probe_bundle: Bundle) -> None:
    images = np.random.default_rng(0).integers(0, 256, (3, 48, 64, 3), np.uint8)
    outputs = load_backend(probe_bundle).run(images)
    assert np.array_equal(outputs['mask'], images[..., 0] // 16)
    assert np.array_equal(outputs['confidence'], images[..., 1])


def test_only_a_bundle_is_overwritten(probe_bundle: Bundle, tmp_path: Path) -> None:
    folder, network, manifest = tmp_path / 'run', probe_bundle.onnx_path, probe_bundle.manifest
    write_bundle(folder, network, manifest, frames=[frame('day_0')], higher={'fp32': network})
    write_bundle(folder, network, manifest, overwrite=True)
    (folder / 'notes').mkdir()
    (folder / 'notes' / 'a.txt').write_text('mine')
    with pytest.raises(DgssError, match=r'is not a bundle \(it holds notes/a.txt\)'):
        write_bundle(folder, network, manifest, overwrite=True)
    (folder / MANIFEST).unlink()
    with pytest.raises(DgssError, match=r'is not a bundle \(it has no manifest.json\)'):
        write_bundle(folder, network, manifest, overwrite=True)
    (folder / MANIFEST).write_text('{}')
    with pytest.raises(DgssError, match=r'is not a bundle .*manifest.json'):
        write_bundle(folder, network, manifest, overwrite=True)
    assert (folder / 'notes' / 'a.txt').read_text() == 'mine'
    (tmp_path / 'link').symlink_to(probe_bundle.folder)
    with pytest.raises(DgssError, match='is a link'):
        write_bundle(tmp_path / 'link', network, manifest, overwrite=True)


def test_a_failed_write_keeps_the_old_bundle(probe_bundle: Bundle, tmp_path: Path) -> None:
    """A limit on the size of files stands in for a full disk."""
    folder, network, manifest = tmp_path / 'bundle', probe_bundle.onnx_path, probe_bundle.manifest
    write_bundle(folder, network, manifest)
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (network.stat().st_size - 1, limit[1]))
    try:
        with pytest.raises(DgssError, match='could not be written'):
            write_bundle(folder, network, manifest, overwrite=True)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
        signal.signal(signal.SIGXFSZ, ignored)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    assert not list(tmp_path.glob('.*'))
