"""Figures of a trained model by its capabilities: of test images, of its codes and its prior.

Legend: N images, K classes, S side of an image as the networks take it.
"""

import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as fn
from PIL import Image
from torch import Tensor

from pipeline.data.loader.batch import on_device
from pipeline.evaluation.code_metrics import SplitRange, split_range
from pipeline.evaluation.context import EvaluationContext
from pipeline.evaluation.true_classes import true_classes
from pipeline.storage.json_lines import json_lines
from stylealae.capabilities import Autoencodes, Classifies, Flattens, Reduces, of_classes
from stylealae.errors import ConfigError
from stylealae.image_grid import image_grid
from stylealae.plots import curves, manifold, scatter
from stylealae.priors import Gaussian, rng

__all__ = ["figures_of", "loss_curves", "require_figures"]

SCATTERED_IMG, EXAMPLES, LATTICE, STYLES, SUREST = 5000, 32, 20, 10, 10
Figures = Iterator[tuple[str, Image.Image]]
"""Names and pictures."""


def require_figures(model: object, run_dir: Path) -> None:
    """Refuses a model and a run of which there is nothing to draw.

    Raises:
        ConfigError: no figure suits the model, and the run has no log.
    """
    if not isinstance(model, tuple(FIGURES)) and not json_lines(run_dir / "metrics.jsonl"):
        raise ConfigError(
            f"no figure is of a {type(model).__name__}, and {run_dir} is no run with a log of "
            "losses: leave out --pictures, and see `stylealae sample` and `reconstruct`"
        )


def figures_of(context: EvaluationContext[object]) -> Figures:
    """Every figure that suits the model."""
    for kind, draws in FIGURES.items():
        if isinstance(context.model, kind):
            for draw in draws:
                yield from draw(context)


def loss_curves(run_dir: Path) -> Figures:
    """The losses of a run against images seen."""
    if rows := json_lines(run_dir / "metrics.jsonl"):
        yield "curves", curves(rows, f"losses of {run_dir.name}")


def examples(context: EvaluationContext[Flattens]) -> Figures:
    """Test images, their reconstructions, samples."""
    here = _first_tests(context, EXAMPLES)
    model = of_classes(context.model, lambda: true_classes(context, here.split, here.ids))
    yield "sheet", image_grid(model.rows(_test_images(context, EXAMPLES)), tile=32)


def codes(context: EvaluationContext[Autoencodes]) -> Figures:
    """2-D codes by class on the prior, and what G makes of the prior's plane."""
    model = context.model
    if model.code_width != 2 or isinstance(model, Reduces):
        return
    x, labels = _test_images(context, SCATTERED_IMG), _test_classes(context)
    z = model.encode(x, _key(context, "codes", x.device)).cpu()
    prior, (posterior, name) = model.prior, model.forms
    samples = prior.sample(len(z), _key(context, "prior"))
    title = f"{model.family}: codes of {len(z):,} test images, {posterior} posterior"
    yield "codes", scatter(z, labels, f"{title},\n{name} prior", prior=samples)
    if model.class_inputs or not isinstance(model, Flattens):
        return
    if isinstance(prior, Gaussian):  # equal shares of the prior between lines
        share = (torch.arange(LATTICE) + 0.5) / LATTICE
        ticks = prior.scale * torch.special.ndtri(share)
    else:
        ticks = torch.linspace(-1.0, 1.0, LATTICE) * float(samples.abs().quantile(0.99))
    z = torch.cartesian_prod(ticks, ticks).flip(1)
    gray = model.grey(model.decode(z)).cpu()  # without the border
    side = math.isqrt(model.pixels // model.model.channels)
    images = gray.view(LATTICE, LATTICE, -1, side, side)[:, :, 0]
    yield "manifold", manifold(images, ticks, f"G over the plane of the {name} prior")


def styles(context: EvaluationContext[Autoencodes]) -> Figures:
    """A style a row, a class a column."""
    model, classes = context.model, context.model.class_inputs
    if not classes:
        return
    z = model.prior.sample(STYLES, _key(context, "styles"))
    y = torch.eye(classes)
    x = model.decode(z.repeat_interleave(classes, 0), y.repeat(STYLES, 1))
    rows = [(f"style {i + 1}", row) for i, row in enumerate(torch.split(x, classes))]
    names = [str(k) for k in range(classes)]
    yield "styles", image_grid(rows, tile=32, columns=classes, headings=names)


def clusters(context: EvaluationContext[Classifies]) -> Figures:
    """Each class as G draws it at z = 0, and the test images surest to be of it."""
    model, x = context.model, _test_images(context, SCATTERED_IMG)
    y = model.classify(x)
    heads = model.decode(torch.zeros(y.shape[1], model.code_width), torch.eye(y.shape[1]))
    surest = y.topk(SUREST, dim=0).indices  # [SUREST, K]
    held = fn.one_hot(y.argmax(1), y.shape[1]).sum(0)
    rows = [
        (f"class {k}: {int(held[k])} of {len(x):,}", torch.cat((heads[k, None], x[surest[:, k]])))
        for k in range(y.shape[1])
    ]
    title = "left: the class as G draws it at z = 0; then the test images surest to be of it"
    yield "clusters", image_grid(rows, tile=32, title=title)


def reduction(context: EvaluationContext[Reduces]) -> Figures:
    """The representations of test images, and the heads."""
    model = context.model
    if model.code_width != 2:
        return
    x, labels = _test_images(context, SCATTERED_IMG), _test_classes(context)
    title = f"reduction of {len(x):,} test images to 2-D"
    marks = model.heads.detach().cpu()
    yield "reduction", scatter(model.reduce(x).cpu(), labels, title, marks=marks)


FIGURES: dict[type, tuple[Callable[[EvaluationContext[Any]], Figures], ...]] = {
    Flattens: (examples,),
    Autoencodes: (codes, styles),
    Classifies: (clusters,),
    Reduces: (reduction,),
}
"""Figures by the class of model that they are drawn of; Any, for each takes its own."""


def _key(
    context: EvaluationContext[object], purpose: str, device: torch.device | str = "cpu"
) -> torch.Generator:
    """The source of one figure's draws; `gallery` keeps them those of earlier versions."""
    return rng(context.seed, f"gallery/{purpose}", 0, device)


def _test_images(context: EvaluationContext[object], n: int) -> Tensor:
    """The first test images.  -> [N, C, R, R] in [-1, 1]"""
    here = _first_tests(context, n)
    pixels = context.dataset.take(here.split, here.ids)
    return on_device(pixels, 1.0, context.world.device)


def _test_classes(context: EvaluationContext[Any]) -> Tensor:
    """Classes of the test images that are scattered.  -> [N] int64"""
    here = _first_tests(context, SCATTERED_IMG)
    return true_classes(context, here.split, here.ids)


def _first_tests(context: EvaluationContext[object], n: int) -> SplitRange:
    """The first test images, as far as there are n."""
    return split_range(context, "test").at_most(n)
