"""The engine `docker`: confined containers whose images are assembled from the locks.

From outside: `engine`, and what the verb `image` asks of a daemon. Imports `engines.contract` and lower rooms.
"""
