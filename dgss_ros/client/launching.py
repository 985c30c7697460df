"""What our launch files share: values of arguments, and verbs of dgss as processes.

The failure of a verb fails the launch.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any

from dgss_core.errors import DgssError

Then = Callable[[int], list[Any]]
"""The actions that follow a process, by its exit code; may raise DgssError."""


def spellings(*names: str) -> list[str]:
    """The values of an argument, also capitalised as Python and rcl write them."""
    return [each for name in names for each in (name, name.capitalize(), name.upper())]


BOOLEANS = spellings('true', 'false')


def is_true(value: str) -> bool:
    """Whether an argument that takes `BOOLEANS` says yes."""
    return value.lower() == 'true'


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
