"""Training augmentation on torchvision v2, and the samplers that draw the frames."""

from dgss_core.training.augmentation.changes import Look, changed_batch
from dgss_core.training.augmentation.class_mix import class_mix
from dgss_core.training.augmentation.corruption import CorruptionConfig, RandomCorruption
from dgss_core.training.augmentation.crop import ScaleCrop
from dgss_core.training.augmentation.exposure import Exposure
from dgss_core.training.augmentation.photometric import PhotometricDistortion
from dgss_core.training.augmentation.sampling import (
    Draw,
    Draws,
    MixedSampler,
    RareClassSampler,
    Sampler,
    UniformSampler,
)
from dgss_core.training.augmentation.statistics import ClassStatistics, class_statistics
from dgss_core.training.augmentation.training import (
    AugmentedFrames,
    Crop,
    TrainingAugmentation,
    exposure_changes,
    training_augmentation,
)

__all__ = [
    'AugmentedFrames',
    'ClassStatistics',
    'CorruptionConfig',
    'Crop',
    'Draw',
    'Draws',
    'Exposure',
    'Look',
    'MixedSampler',
    'PhotometricDistortion',
    'RandomCorruption',
    'RareClassSampler',
    'Sampler',
    'ScaleCrop',
    'TrainingAugmentation',
    'UniformSampler',
    'changed_batch',
    'class_mix',
    'class_statistics',
    'exposure_changes',
    'training_augmentation',
]
