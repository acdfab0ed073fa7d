"""Debian's packages as the bases of images: the mirror, the archive's index, locks, and the base layers.

Imports `images.layer` and lower rooms.
"""
