"""Starts the segmentation node for one or several cameras.

ros2 launch dgss_ros segment.launch.py image:=/camera/image_raw
ros2 launch dgss_ros segment.launch.py cameras:=front,left:rear image:=/sensing/{camera}/image_raw
"""

import os
from collections.abc import Callable

from launch.actions import DeclareLaunchArgument, OpaqueFunction, SetEnvironmentVariable
from launch.substitutions import LaunchConfiguration, PathJoinSubstitution
from launch_ros.actions import LifecycleNode
from launch_ros.substitutions import FindPackageShare

from dgss_core.errors import DgssError
from dgss_ros.node.transport import environment
from launch import LaunchContext, LaunchDescription

BOOLEANS = ['true', 'false']
LOG_LEVELS = ['debug', 'info', 'warn', 'error', 'fatal']
CAMERA = '{camera}'
RESPAWN_DELAY_S = 2.0


def generate_launch_description() -> LaunchDescription:
    default_parameters = PathJoinSubstitution(
        [FindPackageShare('dgss_ros'), 'config', 'segment.yaml']
    )
    return LaunchDescription(
        [
            DeclareLaunchArgument(
                'image',
                default_value=f'/{CAMERA}/image_raw',
                description=f'Topic of the images; {CAMERA} stands for the name of each camera, '
                'or for "camera" if it has no name.',
            ),
            DeclareLaunchArgument(
                'cameras',
                default_value='',
                description='Names of the cameras, separated by commas; a colon starts another '
                'node for the names after it. Empty for one camera without a name.',
            ),
            DeclareLaunchArgument(
                'bundle',
                default_value='',
                description='Folder of the bundle; empty for the bundle in params_file.',
            ),
            DeclareLaunchArgument(
                'params_file',
                default_value=default_parameters,
                description='Parameter file of the node.',
            ),
            DeclareLaunchArgument(
                'namespace', default_value='', description='Namespace of the node.'
            ),
            DeclareLaunchArgument(
                'autostart',
                default_value='true',
                choices=BOOLEANS,
                description='Configure and activate the node at start.',
            ),
            DeclareLaunchArgument(
                'respawn',
                default_value='false',
                choices=BOOLEANS,
                description='Start the node again when it ends.',
            ),
            DeclareLaunchArgument(
                'log_level',
                default_value='info',
                choices=LOG_LEVELS,
                description='Minimum severity that is logged.',
            ),
            *(SetEnvironmentVariable(*pair) for pair in environment(os.environ).items()),
            OpaqueFunction(function=segment_nodes),
        ]
    )


def segment_nodes(context: LaunchContext) -> list[LifecycleNode]:
    """Return a node per group of cameras: `dgss`, or `dgss_CAMERAS` if there are several.

    Raises DgssError when several cameras would share one image topic.
    """

    def argument(name: str) -> str:
        return LaunchConfiguration(name).perform(context)

    groups = [group.split(',') for group in argument('cameras').split(':')]
    if len([name for group in groups for name in group]) > 1 and CAMERA not in argument('image'):
        raise DgssError(
            f'Several cameras cannot share the topic {argument("image")}; write {CAMERA} in it '
            f'for the name of each, as in image:=/{CAMERA}/image_raw.'
        )
    return [
        LifecycleNode(
            package='dgss_ros',
            executable='segment_node',
            name='dgss' if len(groups) == 1 else '_'.join(['dgss', *cameras]),
            namespace=argument('namespace'),
            parameters=[argument('params_file'), parameters(cameras, argument)],
            remappings=remappings(cameras, argument('image')),
            arguments=['--ros-args', '--log-level', argument('log_level')],
            respawn=argument('respawn') == 'true',
            respawn_delay=RESPAWN_DELAY_S,
            output='screen',
        )
        for cameras in groups
    ]


def parameters(cameras: list[str], argument: Callable[[str], str]) -> dict[str, object]:
    """Return the parameters that override the file; an empty argument overrides nothing."""
    given = {'bundle': argument('bundle'), 'cameras': cameras if any(cameras) else []}
    chosen = {name: value for name, value in given.items() if value}
    return {'autostart': argument('autostart') == 'true', **chosen}


def remappings(cameras: list[str], image: str) -> list[tuple[str, str]]:
    """Remap the images only; compressed images and camera_info are found beside them."""
    return [
        (f'~/{camera}/image' if camera else '~/image', image.replace(CAMERA, camera or 'camera'))
        for camera in cameras
    ]
