"""A run on one page (`run` reads its folder, `charts` draws, `page` writes), published results."""
