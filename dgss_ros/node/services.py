"""The services of the node. They work on threads of their own, so that frames flow meanwhile."""

from __future__ import annotations

import json
import threading
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rclpy.callback_groups import MutuallyExclusiveCallbackGroup
from rclpy.node import Node
from rclpy.task import Future
from std_srvs.srv import Trigger

from dgss_core.errors import DgssError
from dgss_core.files import write_whole
from dgss_core.images.compressed import encode_png
from dgss_core.images.paint import overlay
from dgss_ros.node.frames import SavedFrame
from dgss_ros.node.messages import stamp_ns


def offer(node: Node, name: str, work: Callable[[], Any]) -> None:
    """Offer a `std_srvs/Trigger` whose answer is what the coroutine function `work` returns.

    What it raises becomes the reason of a refusal. One call is served at a time.
    """

    async def answer(request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        try:
            response.message = await work()
            response.success = True
        except DgssError as error:
            response.message = str(error)
        except Exception as error:
            response.message = f'{type(error).__name__}: {error}'
            node.get_logger().error(traceback.format_exc())
        if not response.success:
            node.get_logger().error(f'{name} failed: {response.message}')
        return response

    # A group of its own: while a coroutine waits, rclpy holds back all else in its group.
    node.create_service(Trigger, name, answer, callback_group=MutuallyExclusiveCallbackGroup())


def in_thread(node: Node, work: Callable[[], Any]) -> Future:
    """Run `work` on a new thread; a coroutine can await it and the executor goes on."""
    future = Future()

    def run() -> None:
        try:
            future.set_result(work())
        except BaseException as error:
            future.set_exception(error)
        if node.context.ok() and node.executor is not None:
            node.executor.wake()  # a future done elsewhere does not wake those who await it

    threading.Thread(target=run, name='service').start()
    return future


def save(answer: SavedFrame, camera: str, folder: Path) -> list[Path]:
    """Write an answered frame: image, mask and overlay as PNG, and JSON of what they are.

    Raises DgssError when the folder cannot be written.
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
    contents = {f'{stem}_{name}.png': encode_png(picture) for name, picture in pictures.items()}
    contents[f'{stem}.json'] = (json.dumps(meta, indent=2) + '\n').encode()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, content in contents.items():
            write_whole(folder / name, content)
    except OSError as error:
        raise DgssError(f'{folder} cannot be written: {error}; mend save_folder.') from error
    return [folder / name for name in contents]
