"""The plain autoencoder, for comparison: E and G minimise the reconstruction error."""
