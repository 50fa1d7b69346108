"""The variational autoencoder (Kingma and Welling 2014), beta-VAE; Gaussian or mixture prior."""
