"""What is drawn of published runs: charts, squares as pictures, badges. Pure, except `drawing`, which uses matplotlib.

For the rest of `site`, and `badges` for `cli`. Imports `site.squares`, `site.releases`, `site.harmless` and the rooms
below `site`.
"""
