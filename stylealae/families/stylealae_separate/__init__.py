"""StyleGAN with an encoder beside its critic: what StyleALAE's D∘E is compared with."""
