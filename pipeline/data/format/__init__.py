"""The data format: manifest, shard lists, tars with an index; docs/format.md is the reference."""
