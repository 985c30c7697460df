"""Plays a recorded drive through the segmentation node and records its masks.

ros2 launch dgss_ros evaluate.launch.py bag:=drive output:=masks bundle:=my_bundle

It takes the arguments of segment.launch.py too, so that what is judged is what drives. The masks
have the stamps of their images, by which a tool finds the labels they belong to.
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

# A path as it is, not a substitution, so that --show-args can look into it.
SEGMENT = str(Path(__file__).with_name('segment.launch.py'))


def generate_launch_description() -> LaunchDescription:
    return LaunchDescription(
        [
            DeclareLaunchArgument('bag', description='Drive to play.'),
            DeclareLaunchArgument('output', description='Bag to write.'),
            DeclareLaunchArgument(
                'rate', default_value='1.0', description='Speed; below 1 for a slow machine.'
            ),
            DeclareLaunchArgument(
                'wait', default_value='60', description='Seconds the node has to get ready.'
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
