"""The public interface: what `import dgss_core` offers, and that it costs nothing."""

from __future__ import annotations

import ast
import inspect
import subprocess
import sys
from pathlib import Path

import pytest

import dgss_core as dgss

HEAVY = ('torch', 'onnx', 'rosbags', 'mcap', 'onnxruntime', 'cv2', 'numpy', 'rclpy')


def loaded_by(code: str, modules: tuple[str, ...]) -> list[str]:
    """Which of `modules` a new Python process has loaded after `code`."""
    code += f'\nimport sys; print(*[name for name in {modules!r} if name in sys.modules])'
    result = subprocess.run(
        [sys.executable, '-c', code], capture_output=True, text=True, check=True
    )
    return result.stdout.split()


def test_every_name_is_there_and_documented() -> None:
    assert list(dgss.__all__) == sorted(dgss.__all__)
    for name in dgss.__all__:
        assert inspect.getdoc(getattr(dgss, name)), name
    assert {*dgss.__all__} <= {*dir(dgss)}


def test_type_checkers_see_the_same_names() -> None:
    stub = ast.parse(Path(dgss.__file__).with_suffix('.pyi').read_text())
    seen = {
        node.module: tuple(alias.asname or alias.name for alias in node.names)
        for node in stub.body
        if isinstance(node, ast.ImportFrom)
    }
    assert seen == dgss._HOMES
    assert sorted(name for names in seen.values() for name in names) == dgss.__all__
    assert Path(dgss.__file__).with_name('py.typed').is_file()


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="'dgss_core' has no attribute 'nonsense'"):
        dgss.nonsense  # noqa: B018


def test_the_import_loads_nothing() -> None:
    assert loaded_by('import dgss_core', HEAVY) == []


def test_a_vehicle_loads_no_torch_onnx_rosbags_or_mcap() -> None:
    code = 'import dgss_core as dgss; dgss.Segmenter(dgss.open_bundle(), "onnxruntime")'
    assert loaded_by(code, ('torch', 'onnx', 'rosbags', 'mcap', 'lightning_fabric')) == []


def test_frames_of_a_folder_load_no_torch() -> None:
    code = (
        'import dgss_core as dgss; dgss.frames, dgss.read_bag, dgss.build_dataset, dgss.evaluate'
    )
    assert loaded_by(code, ('torch', 'onnx')) == []


@pytest.mark.ros
def test_the_node_loads_no_torch_onnx_rosbags_or_mcap() -> None:
    code = 'import dgss_ros.segment_node'
    assert loaded_by(code, ('torch', 'onnx', 'rosbags', 'mcap', 'lightning_fabric')) == []
