"""The names of nodes and topics of several cameras, in launch files and in `dgss bag replay`."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from dgss_core.errors import DgssError, shown
from dgss_ros.parameters.table import check_cameras

CAMERA = '{camera}'
IMAGE = f'/{CAMERA}/image_raw'
NODE = 'dgss'
COMPRESSED = '/compressed'
"""What image_transport appends to the topic of images for the compressed ones."""
NAME = r'[A-Za-z_]\w*'
"""Of a node, a namespace or a part of a topic."""


class NodeCameras(NamedTuple):
    """A node by its name, and the names of its cameras; empty for one camera without a name."""

    name: str
    cameras: list[str]


class CameraTopics(NamedTuple):
    """The image topic of a camera; its outputs are below `outputs`, its labels below `node`."""

    image: str
    outputs: str
    node: str


def nodes(cameras: str, node: str = NODE) -> list[NodeCameras]:
    """The nodes of `front,left:rear`: a comma parts cameras, a colon parts nodes.

    A single node is named `node`; several are named after their cameras too. Raises DgssError
    for names that ROS does not take, or that occur twice.
    """
    if not re.fullmatch(f'/?{NAME}(/{NAME})*', node, re.ASCII):
        raise DgssError(
            f'{shown(node)} is not the name of a node; join letters, digits and _ by /, as in '
            '/vehicle/dgss.'
        )
    if not cameras:
        return [NodeCameras(node, [])]
    groups = [group.split(',') for group in cameras.split(':')]
    check_cameras([name for group in groups for name in group])
    if len(groups) == 1:
        return [NodeCameras(node, groups[0])]
    return [NodeCameras('_'.join([node, *group]), group) for group in groups]


def image_of(camera: str, image: str) -> str:
    """The topic of the images of a camera; `{camera}` in `image` stands for its name."""
    return image.replace(CAMERA, camera or 'camera')


def topics(cameras: str, image: str, namespace: str = '', node: str = NODE) -> list[CameraTopics]:
    """The topics of all cameras. Raises DgssError if two share an image topic, or for a name
    that ROS does not take.
    """
    check_namespace(namespace)
    found = list(_topics(nodes(cameras, node), image, namespace.strip('/')))
    if len({camera.image for camera in found}) < len(found):
        raise DgssError(
            f'Several cameras cannot share the topic {shown(image)}; write {CAMERA} in it for the '
            f'name of each, as in /{CAMERA}/image_raw.'
        )
    return found


def name_of(camera: CameraTopics) -> str:
    """The name of a camera; empty if it has none."""
    return camera.outputs.removeprefix(camera.node).lstrip('/')


def check_namespace(namespace: str) -> None:
    """Raise DgssError for a namespace that ROS does not take."""
    if not re.fullmatch(f'/?({NAME}(/{NAME})*)?', namespace, re.ASCII):
        raise DgssError(
            f'{shown(namespace)} is not a namespace; join letters, digits and _ by /, as in '
            '/vehicle/sensing.'
        )


def joined(outer: str, namespace: str) -> str:
    """The namespace of a node in a launch group. `outer`: of the group; empty for none.

    As in launch_ros, a namespace that begins with / is whole.
    """
    whole = namespace if namespace.startswith('/') else f'{outer.rstrip("/")}/{namespace}'
    return whole.rstrip('/')


def _topics(groups: list[NodeCameras], image: str, namespace: str) -> Iterator[CameraTopics]:
    for group in groups:
        node = '/'.join(['', *([namespace] if namespace else []), group.name])
        for camera in group.cameras or ['']:
            topic = image_of(camera, image)
            if not re.fullmatch(f'(~?/)?{NAME}(/{NAME})*', topic, re.ASCII):
                raise DgssError(
                    f'{shown(topic)} is not the name of a topic; join letters, digits and _ by /, '
                    'as in /camera/image_raw.'
                )
            if topic.startswith('~'):
                topic = node + topic[1:]
            elif not topic.startswith('/'):
                topic = '/'.join(['', *([namespace] if namespace else []), topic])
            yield CameraTopics(topic, f'{node}/{camera}' if camera else node, node)
