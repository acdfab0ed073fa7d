"""Pages, the report, pictures, charts and badges, made from published runs alone.

From outside: `build`, `one_page` and `pictures`. Imports `answers` and the rooms below it.
"""
