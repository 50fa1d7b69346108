"""The Wasserstein autoencoder (Tolstikhin et al. 2018) with the MMD: moment matching of codes."""
