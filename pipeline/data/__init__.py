"""Images into verified multi-resolution shards; shards into batches, the same at any world size."""
