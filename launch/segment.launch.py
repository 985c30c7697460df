"""Starts the segmentation node on one camera or several.

ros2 launch dgss_ros segment.launch.py image:=/camera/image_raw
ros2 launch dgss_ros segment.launch.py cameras:=front,left:rear image:=/sensing/{camera}/image_raw
"""

import os

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
                'and for "camera" where there is one without a name.',
            ),
            DeclareLaunchArgument(
                'cameras',
                default_value='',
                description='Names of the cameras, with commas between; a colon begins a node of '
                'its own for those that follow. Empty for one camera without a name.',
            ),
            DeclareLaunchArgument(
                'bundle',
                default_value='',
                description='Folder of the bundle; empty for the one in params_file.',
            ),
            DeclareLaunchArgument(
                'params_file',
                default_value=default_parameters,
                description='Parameters of the node.',
            ),
            DeclareLaunchArgument(
                'namespace', default_value='', description='Namespace of the node.'
            ),
            DeclareLaunchArgument(
                'autostart',
                default_value='true',
                choices=BOOLEANS,
                description='Configure and activate the node at once.',
            ),
            DeclareLaunchArgument(
                'respawn',
                default_value='false',
                choices=BOOLEANS,
                description='Start the node again when it has ended.',
            ),
            DeclareLaunchArgument(
                'log_level',
                default_value='info',
                choices=LOG_LEVELS,
                description='Least severity that is logged.',
            ),
            *(SetEnvironmentVariable(*pair) for pair in environment(os.environ).items()),
            OpaqueFunction(function=segment_nodes),
        ]
    )


def segment_nodes(context: LaunchContext) -> list[LifecycleNode]:
    """One node for each group of cameras: `dgss`, or `dgss_CAMERAS` where there are several."""

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


def parameters(cameras: list[str], argument) -> dict[str, object]:
    """What goes before the parameter file; an argument left empty leaves the file its say."""
    given = {'bundle': argument('bundle'), 'cameras': cameras if any(cameras) else []}
    chosen = {name: value for name, value in given.items() if value}
    return {'autostart': argument('autostart') == 'true', **chosen}


def remappings(cameras: list[str], image: str) -> list[tuple[str, str]]:
    """Compressed images and the camera_info are looked for beside the images."""
    return [
        (f'~/{camera}/image' if camera else '~/image', image.replace(CAMERA, camera or 'camera'))
        for camera in cameras
    ]
