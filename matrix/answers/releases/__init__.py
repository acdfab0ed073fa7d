"""A report on a release: triage of what changed, significance of its costs, an issue text to paste.

From outside: `triage`, `report` and `issue`. Imports `answers.differences` and `answers.costs`.
"""
