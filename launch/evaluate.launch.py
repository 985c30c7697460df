"""Plays a recorded drive through the segmentation node, records its masks, and scores them.

ros2 launch dgss_ros evaluate.launch.py bag:=drive output:=night bundle:=my_bundle

The folder `output` then holds the bag `masks`, and in `evaluation` the scores and report.html, for
each camera if they have names. The exit code is 0 if every frame was scored and all criteria are
met.

It also takes the arguments of segment.launch.py, so that the evaluated node equals the node
in the vehicle. Masks have the stamps of their images.
"""

from importlib import import_module
from pathlib import Path

from launch.actions import (
    DeclareLaunchArgument,
    EmitEvent,
    IncludeLaunchDescription,
    OpaqueFunction,
    RegisterEventHandler,
    Shutdown,
)
from launch.event_handlers import OnProcessExit
from launch.events.process import ProcessExited, ShutdownProcess
from launch_ros.actions import LifecycleNode

from dgss_core.errors import DgssError
from dgss_core.files import is_empty
from dgss_core.files.home import expand
from dgss_core.libraries import libraries_for
from dgss_ros.client.launching import (
    BOOLEANS,
    cameras_of,
    dgss,
    ended_badly,
    is_true,
    namespace_of,
    options,
    suffix_of,
)
from dgss_ros.node import naming
from launch import Action, LaunchContext, LaunchDescription

# A plain path, not a substitution, so that --show-args can read the file.
SEGMENT = str(Path(__file__).with_name('segment.launch.py'))
MASKS, SCORES = 'masks', 'evaluation'
INCOMPLETE = 1
"""The exit code of a verb that did its work, but found something missing or not passed."""


def generate_launch_description() -> LaunchDescription:
    evaluation = Evaluation()
    return LaunchDescription(
        [
            DeclareLaunchArgument('bag', description='Bag to play.'),
            DeclareLaunchArgument('output', description='Folder to write.'),
            DeclareLaunchArgument(
                'labels',
                default_value='',
                description='Topic of the labels, or folder of PNGs named by the stamps of the '
                f'images, with {naming.CAMERA} for several cameras; by default the topic labels '
                'beside the images.',
            ),
            DeclareLaunchArgument(
                'label_set',
                default_value='',
                description='Label set of the labels; by default that of the bundle.',
            ),
            DeclareLaunchArgument(
                'criteria',
                default_value='',
                description='YAML file of bounds, which decide the exit code too.',
            ),
            DeclareLaunchArgument(
                'lossless',
                default_value='false',
                choices=BOOLEANS,
                description='Wait for the mask of each frame before the next.',
            ),
            DeclareLaunchArgument(
                'rate',
                default_value='1.0',
                description='Playback speed; below 1 for a slow machine.',
            ),
            DeclareLaunchArgument(
                'wait', default_value='60', description='Seconds to wait until the node answers.'
            ),
            # Declared before segment.launch.py does: the time is that of the bag.
            DeclareLaunchArgument(
                'use_sim_time',
                default_value='true',
                choices=BOOLEANS,
                description='Take the time from /clock, on which the bag is played.',
            ),
            OpaqueFunction(function=evaluation.prepare),
            IncludeLaunchDescription(SEGMENT),
            OpaqueFunction(function=evaluation.begin),
        ]
    )


class Evaluation:
    """The steps: look at the arguments, replay the bag, score the masks of each camera.

    A DgssError that one of them raises ends the launch with the exit code 1.
    """

    def prepare(self, context: LaunchContext) -> None:
        """Find the cameras in the bag. Raises DgssError before any process is started."""
        given = context.launch_configurations
        self._given = given
        self._bag, self._output = (expand(given[name]) for name in ('bag', 'output'))
        # A replay without answers leaves an empty folder.
        is_folder = self._output.is_dir()
        if self._output.exists() and not (is_folder and is_empty(self._output)):
            raise DgssError(f'{self._output} exists already; choose another output:=.')
        for name in ('criteria', 'bundle'):
            if (path := given.get(name)) and not expand(path).exists():
                raise DgssError(f'There is no {path}; give another {name}:=.')
        # The arguments of segment.launch.py have their defaults only after it.
        names, image = cameras_of(given), given.get('image', naming.IMAGE)
        namespace = namespace_of(given)
        camera, *_ = naming.topics(names, image, namespace)
        # A bag may hold the images compressed too, as image_transport publishes them.
        image = image.removesuffix(naming.COMPRESSED) + suffix_of(given, camera.node)
        self._node = '/'.join([f'/{namespace.strip("/")}' if namespace else '', naming.NODE])
        self._replayed = ['--image', image, '--cameras', names, '--node', self._node]
        with libraries_for('evaluate.launch.py'):
            replay = import_module('dgss_ros.replay.replay')
        self._cameras = replay.by_topic(self._bag, image, names, self._node)
        self._code = 0

    def begin(self, context: LaunchContext) -> list[Action]:
        self._given = dict(context.launch_configurations)
        arguments = options(rate=self._given['rate'], wait=self._given['wait'])
        if is_true(self._given['lossless']):
            arguments.append('--lossless')
        if is_true(self._given['use_sim_time']):
            arguments.append('--clock')
        replay = dgss(
            *('bag', 'replay', str(self._bag), '--output', str(self._output / MASKS)),
            *(*self._replayed, *arguments),
            then=self._end_of_replay,
        )
        return [RegisterEventHandler(OnProcessExit(on_exit=self._end_of_node)), replay]

    def _end_of_node(self, event: ProcessExited, context: LaunchContext) -> None:
        """Raises DgssError for a node that fails while the bag is played."""
        failed = is_node(event.action) and event.returncode and not context.is_shutdown
        if failed and not is_true(self._given['respawn']):
            raise ended_badly(f'The node {event.process_name}', event.returncode)

    def _end_of_replay(self, code: int) -> list[Action]:
        if code not in (0, INCOMPLETE):
            raise ended_badly('The replay', code)
        self._code = code
        # The node takes no time from the scores.
        return [
            EmitEvent(event=ShutdownProcess(process_matcher=is_node)),
            *self._score(list(self._cameras)),
        ]

    def _score(self, topics: list[str]) -> list[Action]:
        """Score the cameras of `topics` one after the other."""
        if not topics:
            if self._code:
                raise DgssError(f'The evaluation is not passed; see {self._output / SCORES}.')
            return [Shutdown(reason='the evaluation is passed')]
        topic, *rest = topics
        camera, masks = self._cameras[topic], str(self._output / MASKS)
        name = naming.name_of(camera)

        def then(code: int) -> list[Action]:
            if code not in (0, INCOMPLETE):
                raise ended_badly('The evaluation', code)
            self._code = self._code or code
            return self._score(rest)

        # No shell replaces a ~ behind :=.
        files = {key: home(self._given[key]) for key in ('labels', 'label_set', 'criteria')}
        files['labels'] = naming.image_of(name, files['labels'])
        score = dgss(
            *('evaluate', '--bag', str(self._bag), '--topic', topic),
            *('--predictions', masks, '--mask-topic', f'{camera.outputs}/mask'),
            *('--output', str(self._output / SCORES / name)),
            *options(**files),
            then=then,
        )
        return [score]


def home(text: str) -> str:
    return str(expand(text)) if text.startswith('~') else text


def is_node(action: Action) -> bool:
    return isinstance(action, LifecycleNode)
