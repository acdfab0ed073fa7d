"""The verb that compares runs, releases and modules, and the issues that come of it."""
