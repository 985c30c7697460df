"""Starts the segmentation node for one or several cameras.

ros2 launch dgss_ros segment.launch.py image:=/camera/image_raw
ros2 launch dgss_ros segment.launch.py cameras:=front,left:rear image:=/sensing/{camera}/image_raw
"""

import os
from collections.abc import Callable

from launch.actions import (
    DeclareLaunchArgument,
    EmitEvent,
    OpaqueFunction,
    RegisterEventHandler,
    SetEnvironmentVariable,
)
from launch.event_handlers import OnShutdown
from launch.events import Shutdown
from launch.events.process import ProcessExited
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import LifecycleNode

from dgss_core.errors import DgssError
from dgss_ros.client.launching import (
    BOOLEANS,
    cameras_of,
    is_true,
    params_file_of,
    spellings,
)
from dgss_ros.node import naming
from dgss_ros.node.transport import environment
from launch import Action, Event, EventHandler, LaunchContext, LaunchDescription

LOG_LEVELS = spellings('debug', 'info', 'warn', 'error', 'fatal')
RESPAWN_DELAY_S = 2.0


def generate_launch_description() -> LaunchDescription:
    return LaunchDescription(
        [
            DeclareLaunchArgument(
                'image',
                default_value=naming.IMAGE,
                description=f'Topic of the images; {naming.CAMERA} stands for the name of each '
                'camera, or for "camera" if it has no name.',
            ),
            DeclareLaunchArgument(
                'cameras',
                default_value='',
                description='Names of the cameras, separated by commas; a colon starts another '
                'node for the names after it. Empty for those in params_file; without any, one '
                'camera has no name.',
            ),
            DeclareLaunchArgument(
                'bundle',
                default_value='',
                description='Folder of the bundle; empty for the bundle in params_file.',
            ),
            DeclareLaunchArgument(
                'backend',
                default_value='',
                description='Backend that runs the network; empty for what params_file says.',
            ),
            DeclareLaunchArgument(
                'params_file',
                default_value='',
                description='Parameter file of the node; empty for the defaults, or for what '
                'the launch file that includes this one sets.',
            ),
            DeclareLaunchArgument(
                'namespace', default_value='', description='Namespace of the node.'
            ),
            DeclareLaunchArgument(
                'use_sim_time',
                default_value='',
                choices=['', *BOOLEANS],
                description='Take the time from /clock; empty for what params_file says.',
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


def segment_nodes(context: LaunchContext) -> list[Action]:
    """Return a node per group of cameras: `dgss`, or `dgss_CAMERAS` if there are several.

    Raises DgssError for wrong arguments, before any process is started.
    """

    def argument(name: str) -> str:
        return LaunchConfiguration(name).perform(context)

    image, namespace = argument('image'), argument('namespace')
    cameras = cameras_of(context.launch_configurations)
    naming.topics(cameras, image, namespace)
    file = params_file_of(context.launch_configurations)
    files = [] if file is None else [str(file)]
    failures = Failures()
    nodes = [
        LifecycleNode(
            package='dgss_ros',
            executable='segment_node',
            name=node.name,
            namespace=namespace,
            parameters=[*files, parameters(node.cameras, argument)],
            remappings=remappings(node.cameras, image),
            arguments=['--ros-args', '--log-level', argument('log_level')],
            respawn=is_true(argument('respawn')),
            respawn_delay=RESPAWN_DELAY_S,
            output='screen',
            on_exit=failures.note,
        )
        for node in naming.nodes(cameras)
    ]
    fail = EventHandler(
        matcher=lambda event: isinstance(event, NodesFailedEvent),
        entities=[OpaqueFunction(function=failures.fail)],
    )
    handlers = (OnShutdown(on_shutdown=failures.tell), fail)
    return [*nodes, *map(RegisterEventHandler, handlers)]


class Failures:
    """Makes the exit code of the launch tell that a node has failed, once nothing runs any more.

    Until then the others go on, as do those of a launch file that includes this one.
    """

    def __init__(self) -> None:
        self.codes: dict[str, int] = {}

    def note(self, event: ProcessExited, context: LaunchContext) -> None:
        if not context.is_shutdown:
            self.codes[event.process_name] = event.returncode

    def tell(self, event: Shutdown, context: LaunchContext) -> list[Action]:
        failed = event.reason == 'idle' and any(self.codes.values())
        # An exception here would keep the other handlers of this event from ending the launch.
        return [EmitEvent(event=NodesFailedEvent())] if failed else []

    def fail(self, context: LaunchContext) -> None:
        failed = [f'{name} (exit code {code})' for name, code in self.codes.items() if code]
        raise DgssError(f'Nothing runs any more, and {", ".join(failed)} failed; see above.')


class NodesFailedEvent(Event):
    """Nothing runs any more, and a node has failed."""


def parameters(cameras: list[str], argument: Callable[[str], str]) -> dict[str, object]:
    """Return the parameters that override the file; an empty argument overrides nothing."""
    given = {
        'bundle': argument('bundle'),
        'backend': argument('backend'),
        'cameras': cameras,
    }
    chosen = {name: value for name, value in given.items() if value}
    if argument('use_sim_time'):
        chosen['use_sim_time'] = is_true(argument('use_sim_time'))
    return {'autostart': is_true(argument('autostart')), **chosen}


def remappings(cameras: list[str], image: str) -> list[tuple[str, str]]:
    """Remap the images only; compressed images and camera_info are found beside them."""
    return [
        (f'~/{camera}/image' if camera else '~/image', naming.image_of(camera, image))
        for camera in cameras or ['']
    ]
