"""What a run of few, chosen cells says. `pairs` may be imported from outside; it imports `matrix.results`."""
