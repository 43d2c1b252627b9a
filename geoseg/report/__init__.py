"""Reports that a person reads: one HTML file each, which needs no network, on a screen, a phone or paper."""

from geoseg.report.of_accuracy import report_assessment
from geoseg.report.of_areas import report_areas
from geoseg.report.of_change import report_change
from geoseg.report.of_object_accuracy import report_object_accuracy
from geoseg.report.of_objects import report_objects
from geoseg.report.of_zones import report_zones
from geoseg.report.page import write_page

__all__ = [
    "report_areas",
    "report_assessment",
    "report_change",
    "report_object_accuracy",
    "report_objects",
    "report_zones",
    "write_page",
]
