"""Training: labels that somebody drew, and (later) networks that learn from them.

>>> from geoseg.training.labels import Labels, read_labels
"""
