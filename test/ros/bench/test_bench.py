"""Short benchmarks from end to end; their results are not judged here."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

import pytest
from in_process import dgss

from dgss_core.cli import main
from dgss_core.errors import DgssError
from dgss_ros.bench import scenarios
from dgss_ros.bench.report import Figure
from dgss_ros.bench.streams import Stream, street

pytestmark = pytest.mark.ros


def bench(folder: Path, scenario: str, *options: str) -> tuple[dict, str]:
    output = folder / 'bench.json'
    done = dgss('bench', 'node', '--scenario', scenario, '--output', str(output), *options)
    assert done.returncode == 0, done.stderr
    report = json.loads(output.read_text())
    assert report['scenario'] == scenario
    for key, target in report['targets'].items():
        assert key in report
        assert key.replace('_', ' ') in done.stdout
        assert isinstance(target['met'], bool)
    return report, done.stdout


@pytest.mark.parametrize('rate', ['0', '40'])
def test_the_node_is_measured_against_the_model(
    tmp_path: Path, slow_bundle: Path, rate: str
) -> None:
    options = ('--bundle', str(slow_bundle), '--size', '320x180', '--frames', '20')
    report, _ = bench(tmp_path, 'model', *options, '--rate', rate)
    assert (report['size'], report['frames']) == ('320x180', 20)
    # This model is slower than 40 Hz, so some frames get no mask.
    assert report['lost'] == 0 if rate == '0' else report['lost'] < 20
    assert report['bare_model_ms']['p50'] > 1
    assert report['round_trip_ms']['p50'] > 1
    expected = report['round_trip_ms']['p50'] / report['bare_model_ms']['p50']
    assert report['ratio'] == pytest.approx(expected)


def test_the_node_is_measured_against_bare_nodes(tmp_path: Path, probe_bundle: Path) -> None:
    options = ('--bundle', str(probe_bundle), '--size', '320x180', '--frames', '40')
    report, _ = bench(tmp_path, 'passthrough', *options)
    assert 0 < report['delivered_share'] <= 1
    keys = ('round_trip_ms', 'bare_echo_ms', 'bare_planes_ms')
    node, echo, planes = (report[key]['p50'] for key in keys)
    assert report['median_round_trip_ms'] == pytest.approx(node)
    assert report['ratio_to_echo'] == pytest.approx(node / echo)
    assert report['ratio_to_planes'] == pytest.approx(node / planes)
    # Copying the image and its planes alone takes some CPU, and four cores are never busy.
    assert 0.05 < report['cpu_ms_per_frame'] < 4e3 / 30
    assert report['cpu_ratio_to_planes'] > 1


def test_several_cameras_are_measured(tmp_path: Path, probe_bundle: Path) -> None:
    options = ('--bundle', str(probe_bundle), '--size', '64x48', '--frames', '30')
    report, _ = bench(tmp_path, 'cameras', *options)
    assert report['streams'].keys() == {'front', 'left', 'right', 'rear'}
    assert report['median_age_ms'] >= 20
    assert report['mean_of_medians_ms'] >= 20
    assert report['least_rate_hz'] <= 15
    rate = report['streams']['rear']['BasicPerformanceMetrics.MEAN_PLAYBACK_FRAME_RATE']
    assert 0 < rate < 15.5
    assert 0 <= report['unfairness'] <= 1


def test_overload_is_measured(tmp_path: Path, probe_bundle: Path) -> None:
    options = ('--bundle', str(probe_bundle), '--size', '64x48', '--minutes', '0.1')
    report, _ = bench(tmp_path, 'overload', *options)
    assert report['age_ms']['p50'] >= 100
    assert 0 < report['masks_per_second'] < 10.5
    assert report['age_drift_share'] >= 0
    metrics = report['streams']['node']
    assert metrics['BasicPerformanceMetrics.NUM_FRAMES_SENT'] == 360
    # At most 61 inferences of 100 ms can start in six seconds.
    assert metrics['BasicPerformanceMetrics.NUM_MISSED_FRAMES'] >= 299


def test_a_node_that_dies_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, 'tempdir', str(tmp_path))
    load = scenarios.Load(width=64, height=48, frames=10, rate=30, bundle=None)
    with scenarios._node(load, backend='null') as live:
        topics = (scenarios.IMAGE_TOPIC, [scenarios.MASK])
        stream = Stream(live.ros, street(64, 48), *topics, live.check)
        program = scenarios.Program(live.process.pid, stream)
        stream.connect()
        program.play(3, 30)
        assert program.cpu_s > 0
        live.process.kill()
        live.process.wait()
        with pytest.raises(DgssError, match=r'The node ended with code -9; see its log .*\.log'):
            program.play(3, 30)
        with pytest.raises(DgssError, match='The node ended with code -9'):
            stream.round_trip()
    assert live.log.is_file()


def test_a_target_is_a_maximum_or_a_minimum() -> None:
    assert Figure('age_ms', 8.0, target=8.0).met
    assert not Figure('age_ms', 8.1, target=8.0).met
    assert Figure('rate_hz', 15.0, target=15.0, at_least=True).met
    assert not Figure('rate_hz', 14.9, target=15.0, at_least=True).met


@pytest.mark.parametrize(
    'arguments',
    [
        ['--size', '640'],
        ['--size', '0x360'],
        ['--frames', '3'],
        ['--rate', '-1'],
        ['--minutes', '1'],
        ['--scenario', 'overload', '--rate', '0'],
        ['--scenario', 'overload', '--minutes', '1', '--frames', '60'],
        ['--scenario', 'flood'],
    ],
)
def test_a_wrong_benchmark_is_refused(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(['bench', 'node', *arguments]) == 2
    assert capsys.readouterr().err.startswith('dgss: error: ')


def test_only_figures_are_overwritten(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = tmp_path / 'package.json'
    output.write_text('{"name": "mine"}')
    for path, sentence in (
        (output, 'is not a result of dgss bench node'),
        (tmp_path / 'no' / 'folder.json', 'There is no folder'),
    ):
        assert main(['bench', 'node', '--output', str(path)]) == 2
        assert sentence in capsys.readouterr().err
    assert output.read_text() == '{"name": "mine"}'
