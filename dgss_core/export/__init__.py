"""Export: a checkpoint becomes a bundle, one graph from the camera's bytes to class ids.

Reads `networks` and `runtime`, needs torch, and writes what a vehicle then runs without torch.
"""

from dgss_core.export.bundle import DeployedNetwork, export_bundle, images_by_condition

__all__ = ['DeployedNetwork', 'export_bundle', 'images_by_condition']
