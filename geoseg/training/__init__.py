"""Training: labels that somebody drew, and networks that learn from them: classes of pixels, or objects.

>>> from geoseg.training.labels import Labels, read_labels
"""
