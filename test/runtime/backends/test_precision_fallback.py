"""A backend that cannot use a precision goes on to the next higher one in the bundle."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import cv2
import numpy as np
import pytest
from probe import manifest_of
from small_networks import reference_frames, write_classifier

from dgss_core.cli import main
from dgss_core.errors import DgssError
from dgss_core.runtime.backends import load_backend
from dgss_core.runtime.bundle import Bundle, open_bundle
from dgss_core.runtime.bundle.writing import write_bundle

CPU_BACKENDS = ['onnxruntime', 'auto', *(['openvino'] if find_spec('openvino') else [])]


def bundle_of(root: Path, first: Bundle, **higher: Bundle) -> Bundle:
    """A bundle in fp16 with the networks of other bundles inside."""
    manifest = manifest_of('layered', precision='fp16')
    networks = {name: bundle.onnx_path for name, bundle in higher.items()}
    frames = reference_frames(8)
    return write_bundle(
        root / 'layered', first.onnx_path, manifest, frames=frames, higher=networks
    )


@pytest.fixture
def unusable(tmp_path: Path) -> Bundle:
    """fp16 answers NaN, bf16 cannot be loaded, fp32 is sound."""
    return bundle_of(
        tmp_path,
        write_classifier(tmp_path / 'a', nan=True, frames=False),
        bf16=write_classifier(tmp_path / 'b', custom=True, frames=False),
        fp32=write_classifier(tmp_path / 'c', frames=False),
    )


@pytest.mark.parametrize('name', CPU_BACKENDS)
def test_it_goes_on_to_fp32(name: str, unusable: Bundle, tmp_path: Path) -> None:
    lines: list[str] = []
    backend = load_backend(unusable, name, cache_dir=tmp_path / 'cache', report=lines.append)
    assert backend.identity.endswith(('fp32', 'bf16'))
    # The identity is that of the network which answers.
    answers = open_bundle(unusable.folder / 'fp32').identity
    assert f'Runs {answers} on {backend.identity}' in lines[-1]
    text = ' '.join(lines)
    assert text.count('Trying a higher precision.') == 2
    assert 'bf16/model.onnx cannot be loaded' in text


def test_the_first_network_may_not_load(tmp_path: Path) -> None:
    bundle = bundle_of(
        tmp_path,
        write_classifier(tmp_path / 'a', custom=True, frames=False),
        fp32=write_classifier(tmp_path / 'c', frames=False),
    )
    for unverified in (False, True):
        backend = load_backend(
            bundle, 'onnxruntime', cache_dir=tmp_path / 'cache', allow_unverified=unverified
        )
        assert backend.identity.endswith('fp32')


def test_the_last_network_must_load(tmp_path: Path) -> None:
    broken = write_classifier(tmp_path / 'a', custom=True, frames=False)
    with pytest.raises(DgssError, match='cannot be loaded by ONNX Runtime'):
        load_backend(bundle_of(tmp_path, broken, fp32=broken), 'onnxruntime')


def test_segment_says_which_precision_runs(
    unusable: Bundle, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch
) -> None:
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'cache'))
    image = tmp_path / 'a.png'
    cv2.imwrite(str(image), np.zeros((48, 64, 3), np.uint8))
    options = ['--bundle', unusable.folder, '--output', tmp_path / 'out']
    assert main(['segment', str(image), '--backend', 'onnxruntime', *map(str, options)]) == 0
    assert 'CPU, fp32' in capsys.readouterr().err
    assert 'CPU, fp32' in (tmp_path / 'out' / 'index.html').read_text()
