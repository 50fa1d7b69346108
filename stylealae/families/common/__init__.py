"""What the families of MLPs have in common: sections, networks, phases, inputs, models."""
