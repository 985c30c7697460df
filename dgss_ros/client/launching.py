"""What our launch files share: values of arguments, and verbs of dgss as processes.

The failure of a verb fails the launch.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

from dgss_core.errors import DgssError
from dgss_core.files.home import expand
from dgss_ros.node import naming
from dgss_ros.parameters.files import value_in

Then = Callable[[int], list[Any]]
"""The actions that follow a process, by its exit code; may raise DgssError."""


def spellings(*names: str) -> list[str]:
    """The values of an argument, also capitalised as Python and rcl write them."""
    return [each for name in names for each in (name, name.capitalize(), name.upper())]


BOOLEANS = spellings('true', 'false')


def is_true(value: str) -> bool:
    """Whether an argument that takes `BOOLEANS` says yes."""
    return value.lower() == 'true'


def namespace_of(given: Mapping[str, str]) -> str:
    """The namespace of the nodes, in that of the group around the launch file.

    `given`: the launch configurations, of which those that are not declared yet may be missing.
    """
    return naming.joined(given.get('ros_namespace', ''), given.get('namespace', ''))


def params_file_of(given: Mapping[str, str]) -> Path | None:
    """The argument `params_file`; None if it is empty. Raises DgssError if there is no such file.

    `given`: as in `namespace_of`.
    """
    if not (text := given.get('params_file', '')):
        return None
    file = expand(text)
    if not file.is_file():
        raise DgssError(f'There is no parameter file {file}; give another params_file:=.')
    return file


def cameras_of(given: Mapping[str, str]) -> str:
    """The argument `cameras`; if it is empty, the cameras that `params_file` names for the node.

    `given`: as in `namespace_of`. Raises DgssError for a parameter file that cannot be read, and
    for a wrong namespace.
    """
    names, file = given.get('cameras', ''), params_file_of(given)
    if names or file is None:
        return names
    (only,) = naming.topics('', naming.IMAGE, namespace_of(given))
    listed = value_in(file, only.node, 'cameras')
    is_list = isinstance(listed, list) and all(isinstance(name, str) for name in listed)
    return ','.join(listed) if is_list else ''  # the node refuses what is no list of names


def suffix_of(given: Mapping[str, str], node: str) -> str:
    """What `image_transport` in `params_file` appends to the topics of the images of `node`.

    `given`: as in `namespace_of`. Raises DgssError for a parameter file that cannot be read.
    """
    file = params_file_of(given)
    is_compressed = file and value_in(file, node, 'image_transport') == 'compressed'
    return naming.COMPRESSED if is_compressed else ''


PATIENCE_S = '60'
"""How long an interrupted verb may finish its files before it is ended."""


def dgss(*arguments: str, then: Then) -> Any:
    """An action that runs a verb of dgss.

    If `then` raises DgssError, the launch ends with the exit code 1.
    """
    actions, substitutions = (
        import_module(name) for name in ('launch.actions', 'launch_ros.substitutions')
    )
    executable = substitutions.ExecutableInPackage('dgss', 'dgss_ros')
    return actions.ExecuteProcess(
        cmd=[executable, *arguments],
        output='screen',
        sigterm_timeout=PATIENCE_S,
        on_exit=lambda event, context: then(event.returncode),
    )


def options(**values: str) -> list[str]:
    """The options of a verb for the arguments of a launch file that are not empty."""
    return [f'--{name}={value}' for name, value in values.items() if value]


def ended_badly(what: str, code: int) -> DgssError:
    """The sentence for a process that failed or was interrupted."""
    how = 'was interrupted' if code in (130, -2) else f'failed with the exit code {code}'
    return DgssError(f'{what} {how}; see above.')
