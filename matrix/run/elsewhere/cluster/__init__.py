"""Dask as what brings work orders to other machines: how it is reached, workers as a pool, what runs in a worker."""
