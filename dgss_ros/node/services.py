"""The services of the node. Their work runs on separate threads, so that frames keep flowing."""

from __future__ import annotations

import json
import traceback
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path

from rclpy.callback_groups import MutuallyExclusiveCallbackGroup
from rclpy.node import Node
from std_srvs.srv import Trigger

from dgss_core.errors import DgssError, one_line
from dgss_core.images.compressed import encode_png
from dgss_core.images.paint import overlay
from dgss_ros.node.frames import Answer, SavedFrame
from dgss_ros.node.jobs import in_thread
from dgss_ros.node.messages import stamp_ns
from dgss_ros.node.saving import DESCRIPTION, write_frame


def offer(node: Node, name: str, work: Callable[[], Awaitable[str]]) -> None:
    """Offer a `std_srvs/Trigger` service.

    `work`: a coroutine function that returns the message of a successful call. If it raises, the
    call fails with the error as its message. Calls run one at a time.
    """

    async def answer(request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        try:
            response.message = await work()
            response.success = True
        except DgssError as error:
            response.message = one_line(str(error))
        except Exception as error:
            if not node.context.ok():
                return response  # SIGTERM has shut down the context: nobody hears the answer
            response.message = one_line(f'{type(error).__name__}: {error}')
            node.get_logger().error(traceback.format_exc())
        if not response.success:
            node.get_logger().error(f'{name} failed: {response.message}')
        return response

    # A separate group: while a coroutine waits, rclpy blocks the other callbacks of its group.
    node.create_service(Trigger, name, answer, callback_group=MutuallyExclusiveCallbackGroup())


async def save_frames(
    node: Node, answers: Mapping[str, Answer | None], folder: Path
) -> list[Path]:
    """Write the last answer of each camera, on a new thread; returns the paths of the files.

    `answers`: by the name of their camera, None for a camera without one. Raises
    DgssError when there is no frame at all, or when the folder cannot be written.
    """

    def save_all() -> list[Path]:
        return [
            path
            for camera, answer in answers.items()
            if answer is not None
            for path in save(answer.saved(), camera, folder)
        ]

    if paths := await in_thread(node, save_all):
        return paths
    raise DgssError('No frame has been answered yet; activate the node and send it images.')


def save(answer: SavedFrame, camera: str, folder: Path) -> list[Path]:
    """Write an answered frame: image, mask and overlay as PNG, and their description as JSON.

    Returns the paths of the files; no earlier frame is replaced. Raises DgssError when the folder
    is full or cannot be written.
    """
    header, labels = answer.header, answer.labels
    stem = f'{camera or "camera"}_{stamp_ns(header)}'
    pictures = {
        'image': answer.image,
        'mask': answer.mask,
        'overlay': overlay(answer.image, answer.mask, labels),
    }
    meta = {
        'camera': camera,
        'frame_id': header.frame_id,
        'stamp_ns': stamp_ns(header),
        'bundle': answer.bundle,
        'labels': labels.to_dict(),
    }
    contents = {f'_{name}.png': encode_png(picture) for name, picture in pictures.items()}
    contents[DESCRIPTION] = (json.dumps(meta, indent=2) + '\n').encode()
    return write_frame(folder, stem, contents)
