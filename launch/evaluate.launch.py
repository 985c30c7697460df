"""Plays a recorded drive through the segmentation node and records its masks.

ros2 launch dgss_ros evaluate.launch.py bag:=drive output:=masks bundle:=my_bundle

It also takes the arguments of segment.launch.py, so that the evaluated node equals the node in the
vehicle. Masks have the stamps of their images, so that tools can match them with labels.
"""

from pathlib import Path

from launch.actions import (
    DeclareLaunchArgument,
    ExecuteProcess,
    IncludeLaunchDescription,
    Shutdown,
)
from launch.substitutions import LaunchConfiguration
from launch_ros.substitutions import ExecutableInPackage

from launch import LaunchDescription

# A plain path, not a substitution, so that --show-args can read the file.
SEGMENT = str(Path(__file__).with_name('segment.launch.py'))


def generate_launch_description() -> LaunchDescription:
    return LaunchDescription(
        [
            DeclareLaunchArgument('bag', description='Bag to play.'),
            DeclareLaunchArgument('output', description='Bag to write.'),
            DeclareLaunchArgument(
                'rate',
                default_value='1.0',
                description='Playback speed; below 1 for a slow machine.',
            ),
            DeclareLaunchArgument(
                'wait', default_value='60', description='Seconds to wait until the node answers.'
            ),
            IncludeLaunchDescription(SEGMENT),
            ExecuteProcess(
                cmd=[
                    ExecutableInPackage('dgss', 'dgss_ros'),
                    *('bag', 'replay', LaunchConfiguration('bag')),
                    *('--output', LaunchConfiguration('output')),
                    *('--rate', LaunchConfiguration('rate')),
                    *('--wait', LaunchConfiguration('wait')),
                ],
                output='screen',
                on_exit=Shutdown(reason='the drive is over'),
            ),
        ]
    )
