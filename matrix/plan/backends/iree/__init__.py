"""The backend IREE. Other modules read `record` and `names`, the modules of builds and boards also what is theirs."""
