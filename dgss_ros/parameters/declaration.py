"""The declaration of a parameter: its type, default and limits, for ROS and for the docs."""

from __future__ import annotations

from array import array
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor
from rclpy.node import Node
from rclpy.parameter import Parameter

from dgss_core.errors import DgssError

AT_START, UNCONFIGURED, ANY_TIME = 'at start', 'while unconfigured', 'at any time'
TYPES = {
    bool: Parameter.Type.BOOL,
    int: Parameter.Type.INTEGER,
    float: Parameter.Type.DOUBLE,
    str: Parameter.Type.STRING,
    list[int]: Parameter.Type.INTEGER_ARRAY,
    list[str]: Parameter.Type.STRING_ARRAY,
}
Check = Callable[[Any], None]
"""Raises DgssError, with the reason, for an invalid value."""


@dataclass(frozen=True)
class Declaration:
    """One parameter.

    `change`: when it may be set, one of `AT_START`,
    `UNCONFIGURED` and `ANY_TIME`. `bounds`: inclusive. `check`: tests what type, bounds and
    choices cannot express.
    """

    name: str
    type: Any
    default: Any
    change: str
    description: str
    bounds: tuple[float, float] | None = None
    choices: tuple[Any, ...] = ()
    check: Check | None = None

    def declare(self, node: Node) -> None:
        if self.default != []:
            # rclpy has no public list of the values given at start.
            given = node._parameter_overrides.get(self.name)
            value, is_retyped = self.default, False
            if given is not None and (typed := self.typed(given)) is not given:
                value, is_retyped = typed.value, True
            node.declare_parameter(
                self.name, value, self._descriptor(), ignore_override=is_retyped
            )
            return
        # An empty list has no element type: rclpy would declare it as bytes. Declared by its type
        # alone it has no value, and a request for the values of several parameters that includes
        # it is then answered with none at all. A read-only one cannot be set afterwards.
        kind, descriptor = TYPES[self.type], self._descriptor()
        writable = self._descriptor()
        writable.read_only = False
        node.declare_parameter(self.name, kind, writable)
        if node.get_parameter_or(self.name).type_ == Parameter.Type.NOT_SET:
            node.set_parameters([Parameter(self.name, kind, [])])
        descriptor.type = kind.value
        node.set_descriptor(self.name, descriptor)

    def typed(self, parameter: Parameter) -> Parameter:
        """Return a parameter of this name with its type, where its text left that open.

        A whole number without a point is an integer for rcl, and an empty list in a file is one of
        bools for `ros2 param load`.
        """
        value, kind = parameter.value, TYPES[self.type]
        if self.type is float and type(value) is int:
            return Parameter(self.name, kind, float(value))
        if isinstance(self.default, list) and isinstance(value, (list, array)) and not value:
            return Parameter(self.name, kind, [])
        return parameter

    def refuse(self, value: Any) -> None:
        """Raise DgssError for an invalid value of the right type."""
        if self.choices and value not in self.choices:
            raise DgssError(f'{self.name} must be one of {self._choices}, not {value!r}.')
        if self.check is not None:
            self.check(value)

    @property
    def _choices(self) -> str:
        return ', '.join(map(str, self.choices))

    def _descriptor(self) -> ParameterDescriptor:
        descriptor = ParameterDescriptor(
            name=self.name,
            description=f'{self.description} Can be set {self.change}.',
            additional_constraints=f'one of {self._choices}' if self.choices else '',
            read_only=self.change == AT_START,
        )
        if self.bounds and self.type is int:
            first, last = map(int, self.bounds)
            descriptor.integer_range = [IntegerRange(from_value=first, to_value=last, step=1)]
        elif self.bounds:
            low, high = self.bounds
            descriptor.floating_point_range = [FloatingPointRange(from_value=low, to_value=high)]
        return descriptor
