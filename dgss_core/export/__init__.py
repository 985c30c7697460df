"""Export: converts a checkpoint to a bundle, with one graph from camera bytes to class ids.

Imports `networks` and `runtime` and needs torch. A vehicle runs the result without torch.
"""

from dgss_core.export.bundle import DeployedNetwork, export_bundle, images_by_condition

__all__ = ['DeployedNetwork', 'export_bundle', 'images_by_condition']
