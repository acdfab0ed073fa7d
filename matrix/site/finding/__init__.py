"""How a reader finds a page: pickers from square to square, and the index of the search. Pure.

For `pages`. Imports the other modules of `site` that name pages, and the rooms below `site`.
"""
