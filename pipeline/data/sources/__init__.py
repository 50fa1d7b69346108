"""What images come from: a source a kind of input, each random access in a fixed order."""
