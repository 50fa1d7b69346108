"""What a trained model is asked for, with styles and images of the host and of the GPU."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from pipeline.config import RunConfig
from pipeline.studio.recipe import Face, Recipe
from pipeline.studio.studio import Studio
from stylealae.api import StyleALAE
from stylealae.capabilities import Autoencodes, Classifies, Model, Reduces, TakesClasses, Unmaps
from stylealae.editing.directions import Directions
from stylealae.families import FAMILIES
from stylealae.image_grid import image_grid

__all__ = ["calls", "model_of"]

N, STEPS = 4, 2
LABELLED = 64
"""Styles that directions are fitted on."""

Call = Callable[[], Any]


def model_of(cfg: RunConfig) -> Model:
    """An untrained model on the GPU."""
    family, device = FAMILIES[cfg.family], torch.device("cuda")
    nets = family.build(cfg.model).to(device)
    means = {name: mean.to(device) for name, mean in nets.means().items()}
    return family.model(nets, means, cfg.model, stage=cfg.last_stage, seen=0)


def calls(cfg: RunConfig) -> Iterator[tuple[str, Call]]:
    """Everything by name; each is a call on a model of its own."""
    styles = cfg.family == "stylealae"
    found = _of_styles(model_of(cfg)) if styles else _of_mlps(model_of(cfg))  # type: ignore[arg-type]
    yield from found


def _images(m: Model, n: int = N) -> Tensor:
    """Images of the host."""
    return torch.rand(n, m.model.channels, m.resolution, m.resolution) * 2 - 1


def _of_styles(m: StyleALAE) -> Iterator[tuple[str, Call]]:
    x, host = _images(m), torch.randn(N, m.model.w_width)
    for where, w in (("host", host), ("GPU", host.cuda())):
        yield f"map, {where}", lambda w=w: m.map(w)
        yield f"generate, {where}", lambda w=w: m.generate(w)
        yield f"generate in a fade, {where}", lambda w=w: m.generate(w, alpha=0.5, noise=False)
        yield f"score, {where}", lambda w=w: m.score(w)
        yield f"mix, {where}", lambda w=w: m.generate(m.mix(w, w, 2))
        yield f"interpolate, {where}", lambda w=w: m.interpolate(w, w, 3)
        yield f"truncate, {where}", lambda w=w: m.generate(m.truncate(w, 0.7))
    for where, y in (("host", x), ("GPU", x.cuda())):
        yield f"encode, {where}", lambda y=y: m.encode(y)
        yield f"reconstruct, {where}", lambda y=y: m.reconstruct(y, alpha=0.5)
        yield f"refine, {where}", lambda y=y: m.refine(y, STEPS)
    yield "sample", lambda: m.sample(N, truncation=0.7, noise=True)
    yield "sheets", lambda: [image_grid(rows) for rows in m.grids(x.cuda()).values()]
    yield "rows", lambda: image_grid(m.rows(x.cuda()))
    yield from _of_directions(m, host)
    yield "studio", lambda: _painted(m)


def _of_directions(m: StyleALAE, host: Tensor) -> Iterator[tuple[str, Call]]:
    """Directions of each kind, found on the GPU, and as a file gives them: on the host."""
    labels = {"smile": [float(i % 2) for i in range(LABELLED)], "age": [*range(LABELLED)]}

    def fitted(method: Any) -> Directions:
        return m.directions(m.styles(LABELLED), labels, method=method)

    kinds: dict[str, Callable[[], Directions]] = {
        "principal": lambda: m.principal(2, n=LABELLED),
        "SeFa": lambda: m.sefa(2),
        "effect": lambda: fitted("effect"),
        "SVM": lambda: fitted("svm"),
        "logistic": lambda: fitted("logistic"),
    }
    for kind, find in kinds.items():
        for where, w in (("host", host), ("GPU", host.cuda())):
            yield f"edit along {kind}, {where}", lambda f=find, w=w: _edited(m, w, f())
        yield f"edit along {kind} of a file", lambda f=find: _edited(m, host.cuda(), _of_file(f()))


def _edited(m: StyleALAE, w: Tensor, found: Directions) -> Tensor:
    found.cosines(), found.entanglement(), found.chosen(found.names[:1])
    found.scores(m.encode(_images(m)))
    return m.generate(m.edit(w, {found.names[0]: 1.0}, found))


def _of_file(found: Directions) -> Directions:
    tensors = {k: getattr(found, k).cpu() for k in ("vectors", "spreads", "scorers", "zeros")}
    return replace(found, **tensors)


def _painted(m: StyleALAE) -> None:
    studio = Studio(m)
    name, band = studio.attributes.names[0], studio.bands[0].name
    own = Face(w=studio.encode(_images(m, 1))[0].cpu())
    for recipe in (
        Recipe(face=Face(seed=1)),
        Recipe(face=own, other=Face(seed=2), mix={band: 0.5}, amounts={name: 1.0}, noise=True),
    ):
        studio.paint(recipe)
        studio.paint(recipe, draft=True)


def _of_mlps(m: Any) -> Iterator[tuple[str, Call]]:
    x, z = _images(m), torch.randn(N, m.model.z_width)
    yield "sample", lambda: m.sample(N)
    yield "sheets", lambda: [image_grid(rows) for rows in m.grids(x.cuda()).values()]
    if not isinstance(m, (Unmaps, Autoencodes)):
        return
    if isinstance(m, TakesClasses):
        m = m.of_classes(torch.arange(N) % m.class_inputs)
    for where, y in (("host", x), ("GPU", x.cuda())):
        yield f"encode, {where}", lambda y=y: m.encode(y)
        yield f"reconstruct, {where}", lambda y=y: m.reconstruct(y)
        if isinstance(m, Classifies):
            yield f"classify, {where}", lambda y=y: m.classify(y)
        if isinstance(m, Reduces):
            yield f"reduce, {where}", lambda y=y: m.reduce(y)
    for where, code in (("host", z), ("GPU", z.cuda())):
        if isinstance(m, Unmaps):
            yield f"map, {where}", lambda code=code: m.generate(m.map(code))
            yield f"unmap, {where}", lambda code=code: m.unmap(m.map(code), STEPS)
        else:
            yield f"decode, {where}", lambda code=code: m.decode(code, *_classes(m, code))


def _classes(m: Autoencodes, code: Tensor) -> list[Tensor]:
    """What G takes beside a code."""
    return [torch.zeros(len(code), m.class_inputs, device=code.device)] if m.class_inputs else []
