"""StyleALAE (Pidhorskyi et al. 2020): the method of this package."""
