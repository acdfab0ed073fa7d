"""The static API: the same answers as the pages, as JSON documents that `schema.json` describes.

From outside: `files`. Imports the other modules of `site`.
"""
