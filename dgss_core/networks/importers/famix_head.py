"""DeepLabV3+ heads in the names of FAMix."""

from dgss_core.networks.importers.keys import Weights, rename

RULES = (
    (r'project\.([01])\.(.*)', r'detail.\1.\2'),
    (r'aspp\.convs\.([0-3])\.([01])\.(.*)', r'pyramid.branches.\1.\2.\3'),
    # Layer 0 of their pooled branch is the pooling, which has no weights.
    (r'aspp\.convs\.4\.1\.(.*)', r'pyramid.pooled.0.\1'),
    (r'aspp\.convs\.4\.2\.(.*)', r'pyramid.pooled.1.\1'),
    (r'aspp\.project\.([01])\.(.*)', r'pyramid.project.\1.\2'),
    (r'classifier\.([01])\.(.*)', r'fuse.\1.\2'),
    (r'classifier\.3\.(.*)', r'classify.\1'),
)


def deeplab_head(weights: Weights) -> Weights:
    """`classifier.*` of a FAMix checkpoint (without this prefix) to DeepLabHead."""
    return rename(weights, RULES, 'a DeepLabV3+ head of FAMix')
