"""IntroVAE (Huang et al. 2018): a VAE whose E is the discriminator of its own samples."""
