"""Starts the segmentation node on a camera.

ros2 launch dgss_ros segment.launch.py image:=/camera/image_raw
"""

from launch.actions import DeclareLaunchArgument, OpaqueFunction
from launch.substitutions import LaunchConfiguration, PathJoinSubstitution
from launch_ros.actions import LifecycleNode
from launch_ros.substitutions import FindPackageShare

from launch import LaunchContext, LaunchDescription

LOG_LEVELS = ['debug', 'info', 'warn', 'error', 'fatal']


def generate_launch_description() -> LaunchDescription:
    default_parameters = PathJoinSubstitution(
        [FindPackageShare('dgss_ros'), 'config', 'segment.yaml']
    )
    return LaunchDescription(
        [
            DeclareLaunchArgument(
                'image',
                default_value='/camera/image_raw',
                description='Topic of the camera images.',
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
                choices=['true', 'false'],
                description='Configure and activate the node at once.',
            ),
            DeclareLaunchArgument(
                'log_level',
                default_value='info',
                choices=LOG_LEVELS,
                description='Least severity that is logged.',
            ),
            OpaqueFunction(function=segment_node),
        ]
    )


def segment_node(context: LaunchContext) -> list[LifecycleNode]:
    # A function, because an empty bundle argument must leave the parameter file its say.
    bundle = LaunchConfiguration('bundle').perform(context)
    autostart = LaunchConfiguration('autostart').perform(context) == 'true'
    overrides = {'autostart': autostart} | ({'bundle': bundle} if bundle else {})
    return [
        LifecycleNode(
            package='dgss_ros',
            executable='segment_node',
            name='dgss',
            namespace=LaunchConfiguration('namespace'),
            parameters=[LaunchConfiguration('params_file'), overrides],
            remappings=[('~/image', LaunchConfiguration('image'))],
            arguments=['--ros-args', '--log-level', LaunchConfiguration('log_level')],
            output='screen',
        )
    ]
