"""The names of nodes and topics of several cameras."""

from __future__ import annotations

import pytest

from dgss_core.errors import DgssError
from dgss_ros.node.naming import joined, name_of, nodes, topics


def test_a_comma_parts_cameras_and_a_colon_parts_nodes() -> None:
    assert nodes('') == [('dgss', [])]
    assert nodes('front,left') == [('dgss', ['front', 'left'])]
    assert nodes('front,left:rear') == [
        ('dgss_front_left', ['front', 'left']),
        ('dgss_rear', ['rear']),
    ]


def test_topics_are_below_the_namespace_of_their_node() -> None:
    (camera,) = topics('', '/{camera}/image_raw')
    assert camera == ('/camera/image_raw', '/dgss', '/dgss')
    assert name_of(camera) == ''
    found = topics('front:rear', '/sensing/{camera}/image', '/veh/a')
    assert [camera.image for camera in found] == ['/sensing/front/image', '/sensing/rear/image']
    assert [camera.outputs for camera in found] == [
        '/veh/a/dgss_front/front',
        '/veh/a/dgss_rear/rear',
    ]
    assert [name_of(camera) for camera in found] == ['front', 'rear']
    assert topics('', 'image', 'veh')[0].image == '/veh/image'
    assert topics('', '~/image', 'veh')[0].image == '/veh/dgss/image'


@pytest.mark.parametrize(
    ('cameras', 'image', 'namespace', 'reason'),
    [
        ('fr-ont', '/{camera}/image', '', "'fr-ont' cannot name a camera"),
        ('front,', '/{camera}/image', '', "'' cannot name a camera"),
        ('front:front', '/{camera}/image', '', 'names one twice'),
        ('front,left', '/camera', '', "cannot share the topic '/camera'"),
        ('', '/a b', '', "'/a b' is not the name of a topic"),
        ('', '/1st/image', '', 'is not the name of a topic'),
        ('', '/image\x1b[31m', '', r"'/image\\x1b\[31m' is not the name of a topic"),
        ('', '/image', 'veh icle', "'veh icle' is not a namespace"),
        ('', '/image', '/veh//a', 'is not a namespace'),
    ],
)
def test_names_that_ros_does_not_take_are_refused(
    cameras: str, image: str, namespace: str, reason: str
) -> None:
    with pytest.raises(DgssError, match=reason):
        topics(cameras, image, namespace)


@pytest.mark.parametrize(
    ('outer', 'namespace', 'whole'),
    [
        ('', '', ''),
        ('', 'veh', '/veh'),
        ('', '/veh/a', '/veh/a'),
        ('/fleet', '', '/fleet'),
        ('/fleet', 'veh', '/fleet/veh'),
        ('/fleet', '/veh', '/veh'),
        ('/', 'veh', '/veh'),
        ('/', '', ''),
    ],
)
def test_a_namespace_is_joined_to_that_of_its_launch_group(
    outer: str, namespace: str, whole: str
) -> None:
    assert joined(outer, namespace) == whole


@pytest.mark.parametrize('node', ['/a b', '', '/', 'a/', '/a//b', '1st'])
def test_a_name_that_no_node_can_have_is_refused(node: str) -> None:
    with pytest.raises(DgssError, match='is not the name of a node'):
        topics('', '/camera', node=node)
