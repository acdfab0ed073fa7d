"""The published site: static pages from the JSON of runs alone."""
