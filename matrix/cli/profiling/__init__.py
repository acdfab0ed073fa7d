"""The verb `profile`: measured here, or read from published runs."""
