"""Tar to tensor.

shard_reader.py        spans of a tar: checked bytes, split into members, decoded
split_reader.py        the images of a split by sample id
dataset.py             both of a prepared data set, opened once for all who read it
shuffle.py, subset.py  which image stands at which position, and which are shown
loader.py              batches for training, read ahead
batch.py               to the device, and what the networks see
"""
