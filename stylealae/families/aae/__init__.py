"""The Adversarial Autoencoder (Makhzani et al. 2015): codes follow a prior."""
