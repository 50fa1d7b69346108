"""The AAE whose E gives a class y beside z: semi-supervised, or clustering."""
