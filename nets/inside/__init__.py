"""Seeing inside a net: what excites a filter, what decides, what a latent plane holds."""

from nets.inside.features import feature_maps, layer_names
from nets.inside.latent import latent_plane, latent_planes
from nets.inside.pictures import as_picture, grid
from nets.inside.projection import RULES, Projection, project, strongest
from nets.inside.saliency import saliency

__all__ = [
    "RULES", "Projection", "as_picture", "feature_maps", "grid", "latent_plane", "latent_planes",
    "layer_names", "project", "saliency", "strongest",
]  # fmt: skip
