"""Pictures of a trained model by its capabilities: of test images, of its codes and its prior.

Legend: N images, K classes, S side of an image as the networks take it.
"""

import json
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as fn
from PIL import Image
from torch import Tensor

from pipeline.data.loader.batch import on_device
from pipeline.evaluation.code_metrics import cut, labels_of
from pipeline.evaluation.context import Subject
from stylealae.capabilities import Autoencodes, Classifies, Flattens, Reduces
from stylealae.image_grid import image_grid
from stylealae.plots import curves, manifold, scatter
from stylealae.priors import Gaussian, rng

__all__ = ["curves_of", "pictures_of"]

SCATTERED_IMG, LATTICE, STYLES, SUREST = 5000, 20, 10, 10
Pictures = Iterator[tuple[str, Image.Image]]


def pictures_of(s: Subject[Any]) -> Pictures:
    """Every picture that suits the model, by name."""
    for kind, draws in GALLERY.items():
        if isinstance(s.model, kind):
            for draw in draws:
                yield from draw(s)


def curves_of(run_dir: Path) -> Pictures:
    """The losses of a run against images seen."""
    log = run_dir / "metrics.jsonl"
    if log.exists():
        rows = [json.loads(line) for line in log.read_text().splitlines()]
        yield "curves", curves(rows, f"losses of {run_dir.name}")


def sheet(s: Subject[Any]) -> Pictures:
    """Test images, their reconstructions, samples."""
    yield "sheet", image_grid(s.model.rows(_some(s, 32)), tile=32)


def codes(s: Subject[Autoencodes]) -> Pictures:
    """2-D codes by class on the prior, and what G makes of the prior's plane."""
    if s.model.code_width != 2 or isinstance(s.model, Reduces):
        return
    x, labels = _some(s, SCATTERED_IMG), labels_of(s, cut(s, "test"))[:SCATTERED_IMG]
    z = s.model.encode(x, rng(s.seed, "gallery/codes", 0, x.device)).cpu()
    prior, (posterior, name) = s.model.prior, s.model.forms
    samples = prior.sample(len(z), rng(s.seed, "gallery/prior", 0))
    title = f"{s.model.family}: codes of {len(z):,} test images, {posterior} posterior"
    yield "codes", scatter(z, labels, f"{title},\n{name} prior", prior=samples)
    if s.model.class_inputs or not isinstance(s.model, Flattens):
        return
    if isinstance(prior, Gaussian):  # equal shares of the prior between lines
        share = (torch.arange(LATTICE) + 0.5) / LATTICE
        ticks = prior.scale * torch.special.ndtri(share)
    else:
        ticks = torch.linspace(-1.0, 1.0, LATTICE) * float(samples.abs().quantile(0.99))
    z = torch.cartesian_prod(ticks, ticks).flip(1)
    grey = s.model.grey(s.model.decode(z)).cpu()  # without the border
    side = math.isqrt(s.model.pixels // s.model.model.channels)
    images = grey.view(LATTICE, LATTICE, -1, side, side)[:, :, 0]
    yield "manifold", manifold(images, ticks, f"G over the plane of the {name} prior")


def styles(s: Subject[Autoencodes]) -> Pictures:
    """A style a row, a class a column."""
    classes = s.model.class_inputs
    if not classes:
        return
    z = s.model.prior.sample(STYLES, rng(s.seed, "gallery/styles", 0))
    y = torch.eye(classes)
    x = s.model.decode(z.repeat_interleave(classes, 0), y.repeat(STYLES, 1))
    rows = [(f"style {i + 1}", row) for i, row in enumerate(torch.split(x, classes))]
    names = [str(k) for k in range(classes)]
    yield "styles", image_grid(rows, tile=32, columns=classes, headings=names)


def clusters(s: Subject[Classifies]) -> Pictures:
    """Each class as G draws it in the middle of the styles, and the test images surest to be it."""
    x = _some(s, SCATTERED_IMG)
    y = s.model.classify(x)
    heads = s.model.decode(torch.zeros(y.shape[1], s.model.code_width), torch.eye(y.shape[1]))
    surest = y.topk(SUREST, dim=0).indices  # [SUREST, K]
    held = fn.one_hot(y.argmax(1), y.shape[1]).sum(0)
    rows = [
        (f"class {k}: {int(held[k])} of {len(x):,}", torch.cat((heads[k, None], x[surest[:, k]])))
        for k in range(y.shape[1])
    ]
    title = "left: the class as G draws it at z = 0; then the test images surest to be of it"
    yield "clusters", image_grid(rows, tile=32, title=title)


def reduction(s: Subject[Reduces]) -> Pictures:
    """The representations of test images, and the heads."""
    if s.model.code_width != 2:
        return
    x, labels = _some(s, SCATTERED_IMG), labels_of(s, cut(s, "test"))[:SCATTERED_IMG]
    title = f"reduction of {len(x):,} test images to 2-D"
    marks = s.model.heads.detach().cpu()
    yield "reduction", scatter(s.model.reduce(x).cpu(), labels, title, marks=marks)


GALLERY: dict[type, tuple[Callable[[Subject[Any]], Pictures], ...]] = {
    Flattens: (sheet,),
    Autoencodes: (codes, styles),
    Classifies: (clusters,),
    Reduces: (reduction,),
}


def _some(s: Subject[Any], n: int) -> Tensor:
    """The first test images.  -> [N, C, R, R] in [-1, 1]"""
    here = cut(s, "test")
    return on_device(s.pictures.take(here.split, here.ids[:n]), 1.0, s.world.device)
