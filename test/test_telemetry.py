"""The libraries below talk to nobody and leave no identity in the home folder."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

BACKENDS = ['onnxruntime', *(['openvino'] if find_spec('openvino') else [])]
CODE = """
import sys
import dgss_core
segmenter = dgss_core.Segmenter(dgss_core.open_bundle(), sys.argv[1], 1)
segmenter(segmenter.bundle.frames()[0].image)
segmenter.close()
"""


def command(backend: str) -> list[str]:
    return [sys.executable, '-c', CODE, backend]


def environment(home: Path) -> dict[str, str]:
    home.mkdir()
    # An outside that asks for telemetry changes nothing.
    kept = {name: value for name, value in os.environ.items() if not name.startswith('XDG_')}
    return kept | {'HOME': str(home), 'ORT_DISABLE_TELEMETRY': '0', 'HF_HUB_DISABLE_TELEMETRY': ''}


@pytest.mark.parametrize('backend', BACKENDS)
def test_no_file_appears_in_the_home_folder_but_in_our_cache(tmp_path: Path, backend: str) -> None:
    home = tmp_path / 'home'
    subprocess.run(command(backend), env=environment(home), check=True)
    found = {path.relative_to(home).as_posix() for path in home.rglob('*') if path.is_file()}
    assert {path for path in found if not path.startswith('.cache/dgss/')} == set()


@pytest.mark.parametrize('backend', BACKENDS)
def test_no_socket_is_connected(tmp_path: Path, backend: str) -> None:
    trace = tmp_path / 'trace'
    around = ['unshare', '-rn', 'strace', '-f', '-e', 'trace=connect', '-o', str(trace)]
    for tool in ('unshare', 'strace'):
        if not shutil.which(tool):
            pytest.skip(f'needs {tool}')
    if subprocess.run([*around, 'true'], capture_output=True).returncode:
        pytest.skip('this machine allows no network namespace or no strace')
    subprocess.run([*around, *command(backend)], env=environment(tmp_path / 'home'), check=True)
    assert re.findall(r'connect\(.*AF_INET.*', trace.read_text()) == []


def test_the_node_and_every_verb_are_covered() -> None:
    """All of them import dgss_core before anything else of the package is executed."""
    code = (
        'import sys, os, dgss_core\n'
        'assert sys.modules["openvino_telemetry"] is None\n'
        'assert os.environ["ORT_DISABLE_TELEMETRY"] == "1"\n'
        'assert os.environ["HF_HUB_DISABLE_TELEMETRY"] == "1"\n'
        'assert os.environ["RAY_USAGE_STATS_ENABLED"] == "0"\n'
        'assert os.environ["FIFTYONE_DO_NOT_TRACK"] == "true"\n'
        'late = {"onnxruntime", "openvino", "huggingface_hub", "ray", "rerun", "fiftyone"}\n'
        'assert not late & set(sys.modules)\n'
        'import dgss_core.cli, dgss_core.runtime.backends.onnx_runtime\n'
        'import onnxruntime\n'
    )
    subprocess.run([sys.executable, '-c', code], check=True)
