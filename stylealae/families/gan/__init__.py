"""A plain GAN (Goodfellow et al. 2014) with the decoder of the autoencoders."""
