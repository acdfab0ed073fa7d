"""Debian packages as the bases of images: mirrors, the index of the archive, locks, and base layers.

Imports `images.layer` and lower rooms.
"""
