"""A plan of few cells: those that the store has already come first, and more are added where neighbours differ.

`known` may be imported from outside.
"""
