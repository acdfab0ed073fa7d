"""Measures which releases of IREE, iree-turbine, torch and Python work together."""

__version__ = "0.1.0"
