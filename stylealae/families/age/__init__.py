"""AGE (Ulyanov et al. 2018): a game between E and G, without a discriminator."""
