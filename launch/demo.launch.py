"""Plays a drive through all conditions to the segmentation node in a loop, and shows the masks.

ros2 launch dgss_ros demo.launch.py
ros2 launch dgss_ros demo.launch.py bag:=my_drive rviz:=false

It also takes the arguments of segment.launch.py. Foxglove: import config/foxglove/segment.json.
"""

import os
import tempfile
from pathlib import Path

from launch.actions import (
    DeclareLaunchArgument,
    ExecuteProcess,
    IncludeLaunchDescription,
    OpaqueFunction,
)
from launch.conditions import IfCondition
from launch.substitutions import LaunchConfiguration, PathJoinSubstitution
from launch_ros.actions import Node
from launch_ros.substitutions import ExecutableInPackage, FindPackageShare

from launch import LaunchContext, LaunchDescription

# A plain path, not a substitution, so that --show-args can read the file.
SEGMENT = str(Path(__file__).with_name('segment.launch.py'))
FRAMES = '30'


def ros_home() -> Path:
    """$ROS_HOME, by default ~/.ros; a folder of temporary files for a user without a home."""
    try:
        return Path(os.environ.get('ROS_HOME') or Path.home() / '.ros')
    except RuntimeError:
        return Path(tempfile.gettempdir()) / f'ros-{os.getuid()}'


DRIVE = ros_home() / 'dgss' / 'demo_drive'


def generate_launch_description() -> LaunchDescription:
    rviz_config = PathJoinSubstitution(
        [FindPackageShare('dgss_ros'), 'config', 'rviz', 'segment.rviz']
    )
    return LaunchDescription(
        [
            DeclareLaunchArgument(
                'bag',
                default_value='',
                description=f'Bag to play; by default a synthetic drive, written to {DRIVE}.',
            ),
            DeclareLaunchArgument(
                'rviz', default_value='true', choices=['true', 'false'], description='Start RViz.'
            ),
            IncludeLaunchDescription(SEGMENT),
            OpaqueFunction(function=play),
            Node(
                package='rviz2',
                executable='rviz2',
                arguments=['-d', rviz_config],
                condition=IfCondition(LaunchConfiguration('rviz')),
            ),
        ]
    )


def play(context: LaunchContext) -> list[ExecuteProcess]:
    bag = LaunchConfiguration('bag').perform(context)
    player = dgss('bag', 'play', bag or str(DRIVE), '--loop')
    if bag or DRIVE.exists():
        return [player]
    DRIVE.parent.mkdir(parents=True, exist_ok=True)
    return [
        dgss(
            *('bag', 'write', 'synthetic', '--output', str(DRIVE), '--frames', FRAMES),
            on_exit=player,
        )
    ]


def dgss(*arguments: str, **options: object) -> ExecuteProcess:
    command = [ExecutableInPackage('dgss', 'dgss_ros'), *arguments]
    return ExecuteProcess(cmd=command, output='screen', **options)
