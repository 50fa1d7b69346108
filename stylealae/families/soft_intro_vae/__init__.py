"""Soft-IntroVAE (Daniel and Tamar 2021): the IntroVAE with an exponential for the margin."""
