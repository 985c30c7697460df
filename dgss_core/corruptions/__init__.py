"""Corruptions: weather, noise, blur and digital faults at five severities, seeded.

The same code scores robustness and augments training. Uses numpy and OpenCV only. Imports
`synthetic`, `images` and the modules below them.
"""

from dgss_core.corruptions.registry import (
    CORRUPTIONS,
    EVALUATED,
    SEVERITIES,
    constants_of,
    corrupt,
    random_of,
    training_corruptions,
)

__all__ = [
    'CORRUPTIONS',
    'EVALUATED',
    'SEVERITIES',
    'constants_of',
    'corrupt',
    'random_of',
    'training_corruptions',
]
