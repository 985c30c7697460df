"""The beginning of a replay: the node answers, tells what its masks cover, and has one camera."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace

from rclpy.node import Node

from dgss_core.bags import Bag
from dgss_core.commands.progress import say
from dgss_core.errors import DgssError
from dgss_core.evaluation.live import Coverage
from dgss_ros.client.session import wait_until
from dgss_ros.node.naming import CameraTopics
from dgss_ros.replay.answers import Answers
from dgss_ros.replay.bag_play import BagPlayer
from dgss_ros.replay.greeting import greeting
from dgss_ros.replay.peers import coverage_of, others, why_silent
from dgss_ros.replay.times import also_publishes

ANSWER_S = 0.5
STATE_S = 2.0
"""Longest wait for the state of a node that answers no images."""


def wait_for_answers(
    ros: Node,
    player: BagPlayer,
    bag: Bag,
    answers: Answers,
    wait_s: float,
    check: Callable[[], None],
) -> None:
    """Send every camera a grey image without a stamp until it is answered.

    Only an answer proves that the topics are connected in both directions: a publisher discovers
    a subscriber later than the subscriber discovers it. Raises DgssError when there is none within
    `wait_s` seconds, with the reason. `check` raises when it is futile to wait.
    """
    greetings = {topic: greeting(bag, topic) for topic in answers.of}
    end = time.monotonic() + wait_s
    while time.monotonic() < end:
        player.tell_start()
        for topic, image in greetings.items():
            player.publish(topic, image)
        if wait_until(lambda: all(a.connected() for a in answers.of.values()), ANSWER_S):
            return
        check()
    silent = [topic for topic, of in answers.of.items() if not of.connected()]
    if not silent:
        return
    wait_until(lambda: bool(answers.states), STATE_S)
    states = f'; {answers.states}' if answers.states else ''
    camera = answers.of[silent[0]].camera
    why = why_silent(ros, silent[0], camera, answers.state_of(camera.node))
    raise DgssError(
        f'Images on {", ".join(silent)} are not answered (waited {wait_s:g} s{states}): {why}.'
    )


def note_coverage(ros: Node, answers: Answers) -> None:
    """Ask the nodes what their masks cover, for the recording; say it of a node that is silent."""
    for of in answers.of.values():
        of.coverage = _told_coverage(ros, answers, of.camera)


def _told_coverage(ros: Node, answers: Answers, camera: CameraTopics) -> Coverage | None:
    try:
        return coverage_of(ros, camera, answers.check)
    except DgssError as error:
        answers.check()
        say(
            f'{camera.node} does not tell its input.roi and output.size, so that the masks may be '
            f'scored in the wrong place: {error}'
        )
        return None


def check_coverage(ros: Node, answers: Answers) -> None:
    """Raise DgssError if masks of one recording cover different parts of the images."""
    for of in answers.of.values():
        now = _told_coverage(ros, answers, of.camera) if of.coverage else None
        if of.coverage is not None and now is not None and now != of.coverage:
            of.coverage = replace(of.coverage, has_changed=True)
            raise DgssError(
                f'The roi of {of.camera.node} has changed during the replay, so that its masks '
                'cannot be scored; leave it as it is, and repeat.'
            )


def warn_of_others(ros: Node, answers: Answers) -> dict[str, set[str]]:
    """The names of other nodes that publish images, by topic, which are said."""
    found = {topic: {*others(ros, topic)} for topic in answers.of}
    for topic, names in found.items():
        if names:
            say(f'{also_publishes(names, topic)}; stop that, as the node answers both.')
    return found
