"""Edits in w: directions, attributes, refinement."""
