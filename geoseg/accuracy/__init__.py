"""Accuracy: how well a result agrees with a reference."""

from geoseg.accuracy.scores import ObjectAccuracy, assess_objects

__all__ = ["ObjectAccuracy", "assess_objects"]
