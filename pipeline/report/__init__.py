"""A run told on one page: `run` reads its folder, `charts` draws, `page` writes report.html."""
