"""Pages about one value of an axis that is no release: a model, a target. Pure.

For `pages`. Imports the other modules of `site`.
"""
