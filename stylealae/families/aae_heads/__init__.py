"""The AAE that adds a class's head to z: a reduction to few dimensions."""
