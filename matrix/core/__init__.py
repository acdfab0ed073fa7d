"""The words of the project as records, errors, digests, versions, processes, disk. Imports nothing of the project."""
