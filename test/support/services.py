"""Clients of the services and parameters of a node under test."""

from __future__ import annotations

from camera import TIMEOUT_S
from rcl_interfaces.msg import Parameter as ParameterMessage
from rcl_interfaces.srv import GetParameters, SetParameters
from rclpy.node import Node
from rclpy.parameter import Parameter
from std_srvs.srv import Trigger

from dgss_ros.client.session import call


def ask(ros: Node, name: str) -> Trigger.Response:
    client = ros.create_client(Trigger, f'/dgss/{name}')
    return call(client, Trigger.Request(), TIMEOUT_S)


class ParameterClient:
    def __init__(self, ros: Node, node: str = '/dgss') -> None:
        self._set = ros.create_client(SetParameters, f'{node}/set_parameters')
        self._get = ros.create_client(GetParameters, f'{node}/get_parameters')

    def set_message(self, message: ParameterMessage) -> str:
        """Return the reason of a refusal; empty if the node accepts."""
        request = SetParameters.Request(parameters=[message])
        (result,) = call(self._set, request, TIMEOUT_S).results
        assert result.successful == (not result.reason)
        return result.reason

    def set(self, name: str, value: object) -> str:
        return self.set_message(Parameter(name, value=value).to_parameter_msg())

    def get(self, name: str) -> object:
        (value,) = call(self._get, GetParameters.Request(names=[name]), TIMEOUT_S).values
        return Parameter.from_parameter_msg(ParameterMessage(name=name, value=value)).value
