"""The same model with several systems, operation by operation. Pure."""
