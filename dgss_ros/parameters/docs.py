"""The page of all parameters: python -m dgss_ros.parameters.docs > docs/parameters.md"""

from __future__ import annotations

import json
from types import GenericAlias

from dgss_ros.parameters.declaration import Declaration
from dgss_ros.parameters.table import PARAMETERS, camera_parameters

HEAD = """\
# Parameters of the segmentation node

Made by `python -m dgss_ros.parameters.docs` from the table that the node declares them by.
`config/segment.yaml` holds them with their defaults, and `ros2 param describe /dgss NAME` says the
same as this page. A value that cannot be taken is refused with the reason.

Those *at start* come from the command line or a parameter file and are read-only then; those
*while unconfigured* can be set before the node is configured, or after it was cleaned up; all
others take effect with the next frame (`bundle` with the next call of `~/reload`).

| parameter | type | default | can be set | |
|---|---|---|---|---|
"""
TAIL = """
`CAMERA` stands for each name in `cameras`: with `cameras: [front, left]` there are `front.roi` and
`left.roi`. What is not set for a camera is taken from `input`.

Beside these there are `use_sim_time` and, for the quality of service of each topic,
`qos_overrides.TOPIC.publisher.reliability` (also `.history`, `.depth`, and `.subscription`), with
the full name of the topic. A wrong one is named when the node is configured.
"""


def page() -> str:
    """The Markdown of docs/parameters.md."""
    declarations = (*PARAMETERS, *camera_parameters(['CAMERA']))
    return HEAD + ''.join(map(_row, declarations)) + TAIL


def _row(declaration: Declaration) -> str:
    default = '' if declaration.default is None else f'`{json.dumps(declaration.default)}`'
    cells = (
        f'`{declaration.name}`',
        _type(declaration),
        default,
        declaration.change,
        declaration.description,
    )
    return f'| {" | ".join(cells)} |\n'


def _type(declaration: Declaration) -> str:
    kind = declaration.type
    name = str(kind) if isinstance(kind, GenericAlias) else kind.__name__
    if declaration.choices:
        return ', '.join(map(str, declaration.choices))
    if declaration.bounds:
        low, high = declaration.bounds
        return f'{name}, {low:g} to {high:g}'
    return name


if __name__ == '__main__':
    print(page(), end='')
