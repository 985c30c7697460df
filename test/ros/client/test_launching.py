"""The arguments that our launch files share; needs no launch."""

from __future__ import annotations

from pathlib import Path

import pytest

from dgss_core.errors import DgssError
from dgss_ros.client.launching import cameras_of, params_file_of, suffix_of

pytestmark = pytest.mark.ros


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / 'mine.yaml'
    path.write_text(
        '/veh/dgss: {ros__parameters: {cameras: [front, left]}}\n'
        '/dgss: {ros__parameters: {cameras: front}}\n'
    )
    return path


def test_without_the_argument_the_cameras_are_those_of_the_file(file: Path) -> None:
    given = {'params_file': str(file), 'cameras': ''}
    assert cameras_of({**given, 'namespace': 'veh'}) == 'front,left'
    assert cameras_of({**given, 'namespace': '/veh'}) == 'front,left'
    assert cameras_of({**given, 'ros_namespace': '/veh'}) == 'front,left'
    assert cameras_of({**given, 'namespace': 'veh', 'cameras': 'rear'}) == 'rear'
    assert cameras_of({**given, 'namespace': 'other'}) == ''
    assert cameras_of({}) == ''


def test_the_node_refuses_what_is_no_list_of_cameras(file: Path) -> None:
    assert cameras_of({'params_file': str(file)}) == ''


def test_images_have_the_topics_of_the_transport_in_the_file(file: Path) -> None:
    file.write_text('/veh/*: {ros__parameters: {image_transport: compressed}}')
    given = {'params_file': str(file)}
    assert suffix_of(given, '/veh/dgss') == '/compressed'
    assert suffix_of(given, '/dgss') == ''
    assert suffix_of({}, '/veh/dgss') == ''


def test_a_missing_file_is_told(tmp_path: Path) -> None:
    given = {'params_file': str(tmp_path / 'none.yaml')}
    for ask in (cameras_of, params_file_of, lambda given: suffix_of(given, '/dgss')):
        with pytest.raises(DgssError, match='There is no parameter file'):
            ask(given)
