"""Published results of others: of a built site in a folder or at an address, checked by their sha256, and the copies
that a store keeps of them.

From outside: `address` reads them, `index` is what a site says of them.
"""
