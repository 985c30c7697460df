"""The parameters of the node, declared in one table."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from rcl_interfaces.msg import (
    FloatingPointRange,
    IntegerRange,
    ParameterDescriptor,
    SetParametersResult,
)
from rclpy.exceptions import ParameterException
from rclpy.node import Node
from rclpy.parameter import Parameter

from dgss_core.errors import DgssError
from dgss_core.runtimes import BACKENDS

AT_START, UNCONFIGURED, ANY_TIME = 'at start', 'while unconfigured', 'at any time'


@dataclass(frozen=True)
class Declaration:
    """One parameter. `change` says when it may be set; `bounds` are inclusive."""

    name: str
    default: str | int | float | bool
    change: str
    description: str
    bounds: tuple[float, float] | None = None
    choices: tuple[str, ...] = ()

    def descriptor(self) -> ParameterDescriptor:
        descriptor = ParameterDescriptor(
            name=self.name,
            description=f'{self.description} Can be set {self.change}.',
            additional_constraints=f'one of {", ".join(self.choices)}' if self.choices else '',
            read_only=self.change == AT_START,
        )
        if self.bounds and isinstance(self.default, int):
            first, last = map(int, self.bounds)
            descriptor.integer_range = [IntegerRange(from_value=first, to_value=last, step=1)]
        elif self.bounds:
            low, high = self.bounds
            descriptor.floating_point_range = [FloatingPointRange(from_value=low, to_value=high)]
        return descriptor


PARAMETERS = (
    Declaration(
        'autostart',
        False,
        AT_START,
        'Configure and activate without being asked to.',
    ),
    Declaration(
        'bundle',
        '',
        UNCONFIGURED,
        'Folder of the bundle to run; empty for the one that comes with the package.',
    ),
    Declaration(
        'backend',
        'auto',
        UNCONFIGURED,
        'What runs the network; auto takes the fastest that is installed.',
        choices=('auto', *BACKENDS),
    ),
    Declaration(
        'threads',
        0,
        UNCONFIGURED,
        'CPU threads of the backend; 0 for all cores.',
        bounds=(0, 256),
    ),
    Declaration(
        'overlay_opacity',
        0.5,
        ANY_TIME,
        'Weight of the colours over the image in the overlay.',
        bounds=(0.0, 1.0),
    ),
)


class Parameters:
    """Declares `PARAMETERS` on a node and refuses, with a reason, what may not be set.

    `is_configured` tells whether the node holds a bundle. Raises DgssError when a value given
    at start (command line or parameter file) has a wrong type or is out of range.
    """

    def __init__(self, node: Node, is_configured: Callable[[], bool]) -> None:
        self._node = node
        self._is_configured = is_configured
        self._declarations = {declaration.name: declaration for declaration in PARAMETERS}
        node.add_on_set_parameters_callback(self._check)
        for declaration in PARAMETERS:
            try:
                node.declare_parameter(
                    declaration.name, declaration.default, declaration.descriptor()
                )
            except ParameterException as error:
                raise DgssError(
                    f'The parameter {declaration.name} was given what it cannot be. {error}. '
                    f'For example, {declaration.default!r} would do.'
                ) from error
        self._warn_of_unknown()

    def __getitem__(self, name: str) -> Any:
        return self._node.get_parameter(name).value

    def _warn_of_unknown(self) -> None:
        # rclpy passes over a parameter that was misspelt at start and offers no public list of
        # what was given. A file may hold parameters for other nodes, so this is no error.
        given = self._node._parameter_overrides
        unknown = [
            name
            for name in given
            if not name.startswith('qos_overrides.') and not self._node.has_parameter(name)
        ]
        if unknown:
            self._node.get_logger().warning(
                f'Does not know the parameters {", ".join(unknown)}; '
                f'its own are {", ".join(self._declarations)}.'
            )

    def _check(self, parameters: list[Parameter]) -> SetParametersResult:
        for parameter in parameters:
            declaration = self._declarations.get(parameter.name)
            if declaration is None:
                continue  # a standard one, such as use_sim_time or a QoS override
            if declaration.choices and parameter.value not in declaration.choices:
                return SetParametersResult(
                    successful=False,
                    reason=f'{parameter.name} must be one of {", ".join(declaration.choices)}, '
                    f'not {parameter.value!r}.',
                )
            if declaration.change == UNCONFIGURED and self._is_configured():
                return SetParametersResult(
                    successful=False,
                    reason=f'{parameter.name} can only be set while the node is unconfigured; '
                    'deactivate and clean up the node first.',
                )
        return SetParametersResult(successful=True)
