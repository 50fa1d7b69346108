"""A run on Ray: how it connects, what driver and workers tell each other, how many there are."""
