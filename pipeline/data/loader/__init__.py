"""Tar to tensor: shuffle, shard reader, data set, loader, batch on the device."""
