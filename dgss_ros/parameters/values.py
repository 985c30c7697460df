"""Declares, reads and checks the parameters of a node."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from rcl_interfaces.msg import SetParametersResult
from rclpy.exceptions import ParameterException
from rclpy.node import Node
from rclpy.parameter import Parameter

from dgss_core.errors import DgssError, shown, similar
from dgss_core.runtime.backends import runs_a_bundle
from dgss_ros.parameters.declaration import UNCONFIGURED, Declaration
from dgss_ros.parameters.per_camera import AS_INPUT, camera_parameters
from dgss_ros.parameters.table import AUTO, PARAMETERS


def reliability_override(topic: str) -> str:
    """The parameter that overrides the reliability of the subscription to a topic."""
    return f'qos_overrides.{topic}.subscription.reliability'


class Parameters:
    """Declares `PARAMETERS` on a node and refuses invalid values with a reason.

    `is_configured` returns whether the node holds a bundle. Raises DgssError when a value given
    at start (command line or parameter file) has a wrong type or is out of range.
    """

    def __init__(self, node: Node, is_configured: Callable[[], bool]) -> None:
        self._node = node
        self._is_configured = is_configured
        self._declarations: dict[str, Declaration] = {}
        self._bundle_folders: list[Path] | None = None
        self._start_backend: str | None = None
        node.add_on_set_parameters_callback(self._check)
        if hasattr(node, 'add_pre_set_parameters_callback'):  # from Iron on
            node.add_pre_set_parameters_callback(self._typed)
        self._declare(PARAMETERS)
        self._declare(camera_parameters(self['cameras']))
        start = self['bundle']
        folders = self['bundle_folders'] or ([str(Path(start).parent)] if start else [])
        self._bundle_folders = [_real(folder) for folder in folders]
        self.bundle_folder()
        self._start_backend = self['backend']

    def __getitem__(self, name: str) -> Any:
        """Return the current value."""
        return self._node.get_parameter(name).value

    def of_camera(self, camera: str, name: str) -> Any:
        """Return `rotation` or `roi` of a camera: its own value if set, otherwise of `input`."""
        own = self[f'{camera}.{name}'] if camera else AS_INPUT[name]
        return self[f'input.{name}'] if own == AS_INPUT[name] else own

    def bundle_folder(self) -> Path | None:
        """Return the folder of the bundle with links resolved; None for the embedded bundle.

        Raises DgssError when the folder is outside `bundle_folders`.
        """
        return self._check_bundle(self['bundle'])

    def unknown(self) -> Iterator[str]:
        """Yield a sentence for each parameter given at start that no one declares.

        rclpy ignores it. A file may hold parameters of other nodes, so this is not an error.
        """
        # rclpy has no public list of the given ones; a topic declares its own overrides.
        for name in self._node._parameter_overrides:
            if not name.startswith('qos_overrides.') and not self._node.has_parameter(name):
                near = similar(name, self._declarations)
                hint = (
                    f'the nearest is {near[0]}'
                    if len(near) < len(self._declarations)
                    else 'docs/parameters.md lists them'
                )
                yield f'There is no parameter {shown(name)}; {hint}.'

    def overridden(self, images: Sequence[str]) -> Iterator[str]:
        """Yield a sentence for each image topic whose `qos_overrides` are stronger than `auto`."""
        for topic in images if self['input.reliability'] == AUTO else ():
            name = reliability_override(topic)
            if name in self._node._parameter_overrides:
                yield (
                    f'input.reliability has no effect on {topic}, since {name} is set; remove '
                    'one of the two.'
                )

    def _check_bundle(self, bundle: str) -> Path | None:
        if not bundle:
            return None
        folder = _real(bundle)
        allowed = self._bundle_folders
        if allowed is not None and not any(folder.is_relative_to(parent) for parent in allowed):
            within = ', '.join(map(str, allowed)) or 'empty'
            raise DgssError(
                f'The bundle {bundle} lies outside bundle_folders ({within}); start the node with '
                'a folder in bundle_folders that holds it.'
            )
        return folder

    def _check_backend(self, name: str) -> None:
        """Raise DgssError for a backend that would run something else than a bundle.

        It would get around `bundle_folders`, so only the start of the node may name it.
        """
        start = self._start_backend
        if start is not None and name != start and not runs_a_bundle(name):
            raise DgssError(
                f'The backend {name} runs no bundle and cannot be set on a running node; start '
                f'the node with backend:={name}.'
            )

    def _declare(self, declarations: Sequence[Declaration]) -> None:
        for declaration in declarations:
            self._declarations[declaration.name] = declaration
            try:
                declaration.declare(self._node)
            except ParameterException as error:
                raise DgssError(
                    f'The parameter {declaration.name} has an invalid value. {error}. '
                    f'A valid value is {declaration.default!r}.'
                ) from error

    def _typed(self, parameters: list[Parameter]) -> list[Parameter]:
        declarations = self._declarations
        return [
            declarations[each.name].typed(each) if each.name in declarations else each
            for each in parameters
        ]

    def _check(self, parameters: list[Parameter]) -> SetParametersResult:
        for parameter in parameters:
            declaration = self._declarations.get(parameter.name)
            if declaration is None or parameter.value is None:
                continue  # a parameter of rclpy, such as use_sim_time or a QoS override
            is_new = parameter.value != self._node.get_parameter_or(parameter.name).value
            if declaration.change == UNCONFIGURED and is_new and self._is_configured():
                return SetParametersResult(
                    successful=False,
                    reason=f'{parameter.name} can only be set while the node is unconfigured; '
                    'deactivate and clean up the node first.',
                )
            try:
                declaration.refuse(parameter.value)
                if parameter.name == 'bundle':
                    self._check_bundle(parameter.value)
                if parameter.name == 'backend':
                    self._check_backend(parameter.value)
            except DgssError as error:
                return SetParametersResult(successful=False, reason=str(error))
        return SetParametersResult(successful=True)


def _real(path: str) -> Path:
    try:
        return Path(path).expanduser().resolve()
    except (OSError, RuntimeError, ValueError) as error:  # a loop of links, or an unknown ~user
        raise DgssError(f'{path!r} is no path: {error}; give the path of a folder.') from error
