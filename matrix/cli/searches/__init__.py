"""Verbs that search: what they find out decides what they run next."""
