# The public names for type checkers; __init__.py imports each when it is first used.
from dgss_core.bags.reader import read_bag
from dgss_core.confusion import ConfusionMatrix
from dgss_core.datasets import Dataset, Sample, build_dataset
from dgss_core.errors import DgssError
from dgss_core.evaluation.evaluate import evaluate
from dgss_core.inputs import read_frames as frames
from dgss_core.labels import LabelSet
from dgss_core.networks.checkpoint import load_checkpoint
from dgss_core.networks.encoders import Encoder
from dgss_core.networks.systems import build_system
from dgss_core.runtime.backend import Backend, BackendOptions
from dgss_core.runtime.bundle import Bundle, open_bundle
from dgss_core.runtime.segmenter import Segmenter

__version__: str
__all__ = [
    'Backend',
    'BackendOptions',
    'Bundle',
    'ConfusionMatrix',
    'Dataset',
    'DgssError',
    'Encoder',
    'LabelSet',
    'Sample',
    'Segmenter',
    'build_dataset',
    'build_system',
    'evaluate',
    'frames',
    'load_checkpoint',
    'open_bundle',
    'read_bag',
]
