"""Plays a drive through all conditions to the segmentation node in a loop, and shows the masks.

ros2 launch dgss_ros demo.launch.py
ros2 launch dgss_ros demo.launch.py bag:=my_drive rviz:=false

It also takes the arguments of segment.launch.py: the synthetic drive is played to each camera
that they name; a bag of your own has to hold their topics. Foxglove imports
config/foxglove/segment.json.
"""

import os
import tempfile
from collections.abc import Iterable
from importlib import import_module
from pathlib import Path

from ament_index_python.packages import PackageNotFoundError, get_package_prefix
from launch.actions import DeclareLaunchArgument, IncludeLaunchDescription, OpaqueFunction
from launch.conditions import IfCondition
from launch.substitutions import LaunchConfiguration, PathJoinSubstitution
from launch_ros.actions import Node
from launch_ros.substitutions import FindPackageShare

from dgss_core.errors import DgssError
from dgss_core.files.home import expand
from dgss_core.libraries import libraries_for
from dgss_ros.client.launching import (
    BOOLEANS,
    cameras_of,
    dgss,
    ended_badly,
    is_true,
    namespace_of,
    suffix_of,
)
from dgss_ros.node import naming
from launch import Action, LaunchContext, LaunchDescription

# A plain path, not a substitution, so that --show-args can read the file.
SEGMENT = str(Path(__file__).with_name('segment.launch.py'))
FRAMES = '30'
BESIDE = ('camera_info', 'labels', 'condition')
"""What the synthetic drive may hold in /camera, beside the images."""
SHOWN = ('overlay', 'color_mask', 'confidence')
"""The outputs of /dgss in config/rviz/segment.rviz."""


def ros_home() -> Path:
    """$ROS_HOME, by default ~/.ros; a folder of temporary files for a user without a home."""
    try:
        return Path(os.environ.get('ROS_HOME') or Path.home() / '.ros')
    except RuntimeError:
        return Path(tempfile.gettempdir()) / f'ros-{os.getuid()}'


DRIVE = ros_home() / 'dgss' / 'demo_drive'


def generate_launch_description() -> LaunchDescription:
    demo = Demo()
    return LaunchDescription(
        [
            DeclareLaunchArgument(
                'bag',
                default_value='',
                description=f'Bag to play; by default a synthetic drive, written to {DRIVE}.',
            ),
            DeclareLaunchArgument(
                'rviz', default_value='true', choices=BOOLEANS, description='Start RViz.'
            ),
            # Declared before segment.launch.py does: the time is that of the bag.
            DeclareLaunchArgument(
                'use_sim_time',
                default_value='true',
                choices=BOOLEANS,
                description='Take the time from /clock, on which the bag is played.',
            ),
            OpaqueFunction(function=demo.prepare),
            IncludeLaunchDescription(SEGMENT),
            OpaqueFunction(function=demo.play),
            OpaqueFunction(function=demo.show, condition=IfCondition(LaunchConfiguration('rviz'))),
        ]
    )


class Demo:
    """The steps. A DgssError that one of them raises ends the launch with the exit code 1."""

    def prepare(self, context: LaunchContext) -> None:
        """Raises DgssError for wrong arguments and a missing RViz, before anything is started."""
        given = context.launch_configurations
        self._given = given
        # The arguments of segment.launch.py have their defaults only after it.
        names, image = cameras_of(given), given.get('image', naming.IMAGE)
        namespace = namespace_of(given)
        self._cameras = naming.topics(names, image, namespace)
        self._bag = expand(given['bag']) if given['bag'] else None
        self._suffix = suffix_of(given, self._cameras[0].node)
        with libraries_for('demo.launch.py'):
            self._bags, replay = map(import_module, ('dgss_core.bags', 'dgss_ros.replay.replay'))
        if self._bag is not None:
            node = '/'.join([f'/{namespace.strip("/")}' if namespace else '', naming.NODE])
            replay.by_topic(self._bag, image, names, node)
        if is_true(given['rviz']):
            try:
                get_package_prefix('rviz2')
            except PackageNotFoundError as error:
                raise DgssError(
                    'RViz is not installed; install the package rviz2, or give rviz:=false.'
                ) from error

    def play(self, context: LaunchContext) -> list[Action]:
        if self._bag is not None:
            return [self._player(str(self._bag), clock=True)]
        if self._drive.exists():
            return self._players(0)
        DRIVE.parent.mkdir(parents=True, exist_ok=True)
        options = ['--compressed'] if self._suffix else []
        return [
            dgss(
                *('bag', 'write', 'synthetic', '--output', str(self._drive), '--frames', FRAMES),
                *options,
                then=self._players,
            )
        ]

    @property
    def _drive(self) -> Path:
        """The synthetic drive, in the message type that the node takes."""
        return DRIVE.with_name(f'{DRIVE.name}_compressed') if self._suffix else DRIVE

    def show(self, context: LaunchContext) -> list[Action]:
        first = self._cameras[0]
        topics = [(f'/{naming.NODE}/{name}', f'{first.outputs}/{name}') for name in SHOWN]
        config = [FindPackageShare('dgss_ros'), 'config', 'rviz', 'segment.rviz']
        return [
            Node(
                package='rviz2',
                executable='rviz2',
                arguments=['-d', PathJoinSubstitution(config)],
                remappings=topics,
            )
        ]

    def _players(self, code: int) -> list[Action]:
        """The synthetic drive, to each camera; the first tells the time."""
        if code:
            raise ended_badly('Writing the drive', code)
        # A drive of an earlier version may hold less.
        known = {topic.name for topic in self._bags.Bag(self._drive).topics}
        beside = [name for name in BESIDE if f'/camera/{name}' in known]
        return [
            self._player(
                *(str(self._drive), '--remap', _remapped(camera.image, self._suffix, beside)),
                clock=not number,
            )
            for number, camera in enumerate(self._cameras)
        ]

    def _player(self, bag: str, *options: str, clock: bool) -> Action:
        if clock and is_true(self._given['use_sim_time']):
            options = (*options, '--clock')
        return dgss('bag', 'play', bag, '--loop', *options, then=_end)


def _remapped(image: str, suffix: str, beside: Iterable[str]) -> str:
    """The remapping of the topics of the synthetic drive to those beside an image topic.

    `suffix`: of the topics of the images. `beside`: the others in /camera.
    """
    folder = image.rpartition('/')[0]
    others = (f'/camera/{name}:={folder}/{name}' for name in beside)
    return ','.join([f'/camera/image_raw{suffix}:={image}{suffix}', *others])


def _end(code: int) -> list[Action]:
    if code:
        raise ended_badly('Playing the bag', code)
    return []
