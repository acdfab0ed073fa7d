"""Options that belong to a few verbs each; `matrix.cli.options` has what many share."""
