"""ALAE (Pidhorskyi et al. 2020) as MLPs: the phases of StyleALAE, G takes one style."""
