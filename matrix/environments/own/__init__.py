"""Packages that users bring along as files: each becomes a wheel in the store before it is resolved."""
