"""What runtimes say of a call. Other modules read `operation_times`.

A module may import `matrix.core` and other modules of this room. No process is started.
"""
