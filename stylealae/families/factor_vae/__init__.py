"""FactorVAE (Kim and Mnih 2018): a VAE whose code's numbers are made independent."""
