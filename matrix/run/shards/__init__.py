"""One plan on several machines: its jobs dealt to shards, what a shard leaves as a bundle, bundles put together."""
