"""What a compiler says of its own work, beside the module that it makes.

From outside: `statistics` (`read_statistics`, `CompileStatistics`).
"""
