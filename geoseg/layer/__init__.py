"""A class map → a layer of polygons: sieved, traced, simplified, squared, cut, and in memory or in a file.

This is the way of `geoseg vectorize`, and the last part of `geoseg map`. Each step takes batches and gives batches, so
memory does not grow with the map (except where buildings are squared: then all polygons are there at once).
"""

from geoseg.layer.cuts import Cuts
from geoseg.layer.layers import Layer, iter_layer, vectorize, write_layer

__all__ = ["Cuts", "Layer", "iter_layer", "vectorize", "write_layer"]
