"""Folders with a model for microcontrollers."""
