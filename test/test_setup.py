"""setup.py as the tools of ROS 2 run it."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

ROOT = Path(__file__).parents[1]


def test_a_link_to_setup_py_finds_what_colcon_has_linked_beside_it(tmp_path: Path) -> None:
    """colcon build --symlink-install links what setup.py names, and no README."""
    for name in ('setup.py', 'setup.cfg', 'dgss_core', 'dgss_ros', 'launch', 'config', 'resource'):
        (tmp_path / name).symlink_to(ROOT / name)
    command = [sys.executable, 'setup.py', '--quiet', '--name', '--version']
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split()[-2:] == ['dgss_ros', '0.1.0']


def test_package_xml_has_a_key_for_what_runs_or_the_verb_does_without() -> None:
    """Keys of rosdep; for the rest its sentence says what to install."""
    keys = {
        'numpy': 'python3-numpy',
        'opencv-python': 'python3-opencv',
        'onnxruntime': 'python3-onnxruntime-pip',
        'pillow': 'python3-pil',
        'pyyaml': 'python3-yaml',
        'mcap': 'mcap-ros2-support',
        'rosbags': 'python3-rosbags-pip',
        'rich': 'python3-rich',
    }
    without = {'av', 'pi-heif', 'jsonargparse'}
    listed = (ROOT / 'setup.py').read_text().split('RUNTIME = [')[1].split(']\n')[0]
    names = {re.match(r'[\w-]+', line)[0] for line in re.findall(r"'([^']+)'", listed)}
    assert names == keys.keys() | without
    package = ElementTree.parse(ROOT / 'package.xml')
    depends = [element.text for element in package.iter('exec_depend')]
    assert set(keys.values()) <= set(depends)
    assert len(depends) == len(set(depends))
    optional = (ROOT / 'test' / 'conftest.py').read_text().split('OPTIONAL = {')[1].split('}')[0]
    assert {name.replace('-', '_') for name in without} <= set(re.findall(r"'(\w+)'", optional))
