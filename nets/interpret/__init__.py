"""Visualise networks: filter activations, saliency maps, latent planes."""

from nets.interpret.features import feature_maps, layer_names
from nets.interpret.latent import latent_plane, latent_planes
from nets.interpret.pictures import as_picture, grid
from nets.interpret.projection import RULES, Projection, project, strongest
from nets.interpret.saliency import saliency

__all__ = [
    "RULES", "Projection", "as_picture", "feature_maps", "grid", "latent_plane", "latent_planes",
    "layer_names", "project", "saliency", "strongest",
]  # fmt: skip
