"""ALI (Dumoulin et al. 2017) and BiGAN (Donahue et al. 2017): D judges images with codes."""
