"""Estimates from a reference sample: accuracy and areas with standard errors, and how large a sample must be."""

from geoseg.estimates.accuracy import MapAccuracy, estimate_accuracy
from geoseg.estimates.agreement import disagreement, kappa
from geoseg.estimates.clusters import estimate_from_clusters, exact_accuracy
from geoseg.estimates.design import allocate, expected_se, sample_size_for_accuracy, sample_size_for_area
from geoseg.estimates.ratio import stratified_ratio
from geoseg.estimates.units import units_of_matrix

__all__ = [
    "MapAccuracy",
    "allocate",
    "disagreement",
    "estimate_accuracy",
    "estimate_from_clusters",
    "exact_accuracy",
    "expected_se",
    "kappa",
    "sample_size_for_accuracy",
    "sample_size_for_area",
    "stratified_ratio",
    "units_of_matrix",
]
