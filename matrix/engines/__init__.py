"""Engines make environments real and run jobs in them. The contract is `matrix.engines.base.Engine`."""
