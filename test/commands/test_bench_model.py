"""The benchmark measures the right quantities; the speed itself is not tested."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from small_networks import write_classifier

from dgss_core.cli import main
from dgss_core.commands.bench_memory import measure
from dgss_core.commands.bench_model import take_turns
from dgss_core.errors import DgssError
from dgss_core.runtime.bundle import Bundle
from dgss_core.runtime.roofline import layers_of


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    return write_classifier(tmp_path / 'classifier')


def bench(*options: str) -> list[str]:
    return ['bench', 'model', '--seconds', '0.1', '--threads', '1', *options]


def test_latency_is_that_of_the_backend(bundle: Bundle, capsys: pytest.CaptureFixture) -> None:
    folder, backends = str(bundle.folder), 'null:20,null:40,onnxruntime'
    assert main([*bench('--json', '--backend', backends), '--bundle', folder]) == 0
    first, second, network = json.loads(capsys.readouterr().out)['runs']
    for row, milliseconds in ((first, 20), (second, 40)):
        assert milliseconds <= row['p50_ms'] < 3 * milliseconds
        assert row['p50_ms'] <= row['p95_ms'] <= row['p99_ms']
        assert row['images_per_s'] == pytest.approx(1e3 / row['p50_ms'])
    assert second['times_first'] == pytest.approx(first['p50_ms'] / second['p50_ms'])
    assert set(network['stages_ms']) == {'resize', 'network', 'resize back'}
    assert network['stages_ms']['network'] == network['p50_ms']
    assert network['memory_mib']['host'] > 1
    assert network['roof']['device'] == 'CPU'
    assert 0 < network['roof']['share'] < 2
    assert network['roof']['bound_ms'] == pytest.approx(
        network['roof']['arithmetic_ms'] + network['roof']['bytes_ms']
    )
    assert 'null:20 does not say what it computes on' in first['roof']['reason']


def test_two_bundles_and_several_images_in_one_run(
    bundle: Bundle, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    wide = write_classifier(tmp_path / 'wide', channels=16)
    options = ['--against', str(wide.folder), '--batch', '3']
    assert main([*bench(*options), '--bundle', str(bundle.folder)]) == 0
    captured = capsys.readouterr()
    for words in ('3 image(s) a call', 'classifier@', 'wide@', 'G operations', 'GB/s', 'ms:'):
        assert words in captured.out
    assert 'tensorrt is left out: ' in captured.err or 'TensorRT ' in captured.out


def test_a_requested_backend_must_work(capsys: pytest.CaptureFixture) -> None:
    assert main(bench('--backend', 'onnxruntime,abacus')) == 2
    assert "no backend 'abacus'" in capsys.readouterr().err
    assert main(bench('--batch', '0')) == 2


def test_steps_take_turns() -> None:
    calls: list[str] = []
    take_turns([lambda: calls.append('a'), lambda: calls.append('b')], 1e-9)
    assert calls == ['a', 'b'] * 3


def test_operations_are_counted_as_by_hand(bundle: Bundle) -> None:
    pixels = 2 * bundle.height * bundle.width
    layers = layers_of(bundle, batch=2)
    assert [layer.operations for layer in layers] == [
        2 * pixels * 8 * 3 * 9,
        2 * pixels * 19 * 8,
    ]
    image, between = 3 * pixels, 8 * pixels
    assert layers[0].elements == image + between + 8 * 3 * 9


def test_memory_grows_with_the_batch(bundle: Bundle) -> None:
    small, large = (measure(bundle.folder, 'onnxruntime', n, 1)['host'] for n in (1, 64))
    assert large > small + 10


def test_memory_that_cannot_be_measured_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(DgssError, match=r'could not be measured: .*There is no bundle'):
        measure(tmp_path / 'absent', 'onnxruntime', 1, 1)
