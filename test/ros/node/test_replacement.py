"""Reloads and recoveries that overlap; a gated backend forces each order of events."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from camera import TIMEOUT_S, Camera, DiagnosticsReader, flat
from diagnostic_msgs.msg import DiagnosticStatus
from gated import Gates
from probe import write_probe_bundle
from rclpy.node import Node
from rclpy.task import Future
from services import ParameterClient, ask
from std_msgs.msg import String
from std_srvs.srv import Trigger

from dgss_core.labels import LabelSet
from dgss_ros.client.session import wait_until
from dgss_ros.node.messages import to_mask
from dgss_ros.node.pipeline import FAILURES_TO_RECOVER
from dgss_ros.node.qos import LATCHED_QOS

pytestmark = pytest.mark.ros


class Rig:
    """A node that runs the bundle `first` on the gated backend, and its clients."""

    def __init__(self, ros: Node, folder: Path, gates: Gates, start_node, *options: str) -> None:
        for name in ('first', 'second'):
            write_probe_bundle(folder / name)
        self.gates, self.folder = gates, folder
        self.node = start_node(
            *options,
            bundle=folder / 'first',
            backend=gates.backend,
            self_test=False,
            autostart=True,
            traceback=True,
        )
        self.camera = Camera(ros)
        self.camera.subscribe('mask')
        self.camera.connect()
        self.parameters = ParameterClient(ros)
        self._reload = ros.create_client(Trigger, '/dgss/reload')
        assert self._reload.wait_for_service(TIMEOUT_S)

    def reload(self, name: str) -> Future:
        assert self.parameters.set('bundle', str(self.folder / name)) == ''
        return self._reload.call_async(Trigger.Request())

    def fail(self, diagnostics: DiagnosticsReader, times: int) -> None:
        before = int(diagnostics.wait('frames', lambda *_: True)['failed'])
        for failed in range(before + 1, before + times + 1):
            self.camera.send(flat(1))
            diagnostics.wait('frames', lambda _, v, n=failed: v['failed'] == str(n))


@pytest.fixture
def rig(ros: Node, tmp_path: Path, gates: Gates, start_node) -> Rig:
    return Rig(ros, tmp_path / 'bundles', gates, start_node)


def test_a_recovery_never_undoes_a_reload(rig: Rig, diagnostics: DiagnosticsReader) -> None:
    """The reload is asked for while the recovery still loads the old bundle."""
    rig.gates.close('crash-run-first')
    rig.gates.close('hold-load-first')
    rig.fail(diagnostics, FAILURES_TO_RECOVER)
    rig.gates.wait('load first', 2)
    answer = rig.reload('second')
    for _ in range(2):  # the executor takes the request before these
        rig.parameters.get('bundle')
    rig.gates.open('hold-load-first')
    assert wait_until(answer.done, TIMEOUT_S)
    assert answer.result().message.startswith('Runs second@')
    rig.gates.wait('loaded first', 2)
    for _ in range(2):
        assert diagnostics.wait('model', lambda _, v: v.get('bundle', '').startswith('second@'))
        runs = rig.gates.count('run second')
        rig.camera.answer(flat(80))
        assert rig.gates.count('run second') > runs
        diagnostics.status.clear()


def test_recoveries_do_not_overlap_and_the_period_counts_from_the_end(
    rig: Rig, diagnostics: DiagnosticsReader
) -> None:
    rig.gates.close('crash-run-first')
    rig.gates.close('hold-load-first')
    rig.fail(diagnostics, FAILURES_TO_RECOVER)
    rig.gates.wait('load first', 2)
    rig.fail(diagnostics, 2 * FAILURES_TO_RECOVER + 1)
    assert rig.gates.count('load first') == 2
    rig.gates.open('hold-load-first')
    rig.gates.wait('close first')
    rig.fail(diagnostics, FAILURES_TO_RECOVER + 1)
    assert rig.gates.count('load first') == 2
    assert rig.node.log.count('loads it anew') == 1


def test_a_network_that_fails_is_an_error_and_no_fault_of_the_images(
    rig: Rig, diagnostics: DiagnosticsReader
) -> None:
    """Backends for GPUs raise DgssError, as unusable images do."""
    rig.gates.close('refuse-run-first')
    rig.fail(diagnostics, FAILURES_TO_RECOVER)
    status = diagnostics.status['dgss: frames']
    assert status.level == DiagnosticStatus.ERROR
    assert 'The device refuses the network.' in status.message
    assert diagnostics.values('frames')['rejected'] == '0'
    rig.gates.wait('load first', 2)


def test_after_a_refused_reload_the_diagnostics_name_what_runs(
    ros: Node, rig: Rig, diagnostics: DiagnosticsReader
) -> None:
    """The second bundle fails after its backend has reported that it runs."""
    rig.gates.close('refuse-warm-up-second')
    assert rig.parameters.set('bundle', str(rig.folder / 'second')) == ''
    assert ask(ros, 'reload').message == 'The device is full.'
    assert 'Runs second@' in rig.node.log
    diagnostics.status.clear()
    values = diagnostics.wait(
        # A plugin with an argument warns that it answers; it names the bundle that runs.
        'model',
        lambda s, _: s.message.startswith('active') and 'Runs' not in s.message,
    )
    assert values['bundle'].startswith('first@')


def test_a_load_without_progress_is_given_up_and_another_reload_works(
    rig: Rig, diagnostics: DiagnosticsReader
) -> None:
    assert rig.parameters.set('engine.max_silence_s', 0.5) == ''
    rig.gates.close('hold-load-second')
    answer = rig.reload('second')
    assert wait_until(answer.done, TIMEOUT_S)
    assert not answer.result().success
    assert 'made no progress for 0.5 s' in answer.result().message
    rig.camera.answer(flat(80))
    again = rig.reload('first')
    assert wait_until(again.done, TIMEOUT_S)
    assert again.result().message.startswith('Runs first@')
    rig.gates.open('hold-load-second')
    rig.gates.wait('close second')
    diagnostics.wait('model', lambda _, v: v.get('bundle', '').startswith('first@'))


def test_no_mask_of_the_old_label_set_leaves_after_the_new_labels(
    ros: Node, tmp_path: Path, gates: Gates, start_node, diagnostics: DiagnosticsReader
) -> None:
    rig = Rig(ros, tmp_path / 'bundles', gates, start_node)
    relabel(rig.folder / 'second')
    labels: list[String] = []
    ros.create_subscription(String, '/dgss/labels', labels.append, LATCHED_QOS)
    assert wait_until(lambda: len(labels) == 1, TIMEOUT_S)
    masks = rig.camera.received['mask']
    rig.gates.close('hold-run-first')
    runs = gates.count('run first')
    old = rig.camera.send(flat(80))
    gates.wait('run first', runs + 1)
    answer = rig.reload('second')
    assert wait_until(lambda: len(labels) == 2, TIMEOUT_S)
    assert '"animal"' in labels[-1].data
    rig.gates.open('hold-run-first')
    assert wait_until(answer.done, TIMEOUT_S)
    assert answer.result().success, answer.result().message
    assert np.unique(to_mask(rig.camera.answer(flat(0))['mask'])).tolist() == [0]
    assert old.header not in [mask.header for mask in masks]
    diagnostics.wait(
        'frames',
        lambda _, v: int(v['received']) == int(v['processed']) + int(v['dropped']) > 1,
    )


def test_a_reload_to_the_same_labels_loses_no_frame_in_work(rig: Rig) -> None:
    rig.gates.close('hold-run-first')
    runs = rig.gates.count('run first')
    old = rig.camera.send(flat(80))
    rig.gates.wait('run first', runs + 1)
    answer = rig.reload('second')
    rig.gates.wait('loaded second')
    rig.gates.open('hold-run-first')
    assert wait_until(answer.done, TIMEOUT_S)
    masks = rig.camera.received['mask']
    assert wait_until(lambda: any(mask.header == old.header for mask in masks), TIMEOUT_S)


def relabel(folder: Path) -> None:
    """Give a bundle another label set."""
    from dgss_core.runtime.bundle import open_bundle
    from dgss_core.runtime.bundle.writing import update_manifest

    assert 'animal' not in LabelSet.load('cityscapes19').names
    labels = LabelSet.from_dict(
        {
            'name': 'three',
            'labels': [
                {'id': i, 'name': name, 'color': [i, i, i]}
                for i, name in enumerate(('road', 'animal', 'sky'))
            ],
        }
    )
    update_manifest(open_bundle(folder), label_set=labels)
