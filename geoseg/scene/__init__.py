"""Scenes: pixels by band name, with validity, on a grid; read by window from any process.

>>> from geoseg.scene import Pixels, Scene, open_scene, pair
"""

from geoseg.scene.opening import open_scene
from geoseg.scene.pairing import pair
from geoseg.scene.scene import Pixels, Scene

__all__ = ["Pixels", "Scene", "open_scene", "pair"]
