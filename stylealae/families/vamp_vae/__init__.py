"""A VAE with the VampPrior (Tomczak and Welling 2018): its prior is learnt."""
