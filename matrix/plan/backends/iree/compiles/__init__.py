"""Stages that measure compiles themselves. Pure."""
