"""The variational autoencoder (Kingma and Welling 2014), Gaussian or mixture prior."""
