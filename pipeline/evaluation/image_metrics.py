"""Image metrics, each a function of an evaluation context; registry.py names them.

`by` is the role of the feature extractor; with another than the one a metric is defined by, the
names of its values end in that role.  All are collective.

Legend: n samples, N images of a batch, C channels, R resolution, K features, Z and W widths.
"""

from functools import partial

import torch
from torch import Tensor

from pipeline.evaluation.context import EvaluationContext, SampleRange, Values
from pipeline.evaluation.feature_statistics import (
    FeatureStatistics,
    generated_statistics,
    real_statistics,
)
from pipeline.evaluation.true_classes import true_classes
from stylealae.api import StyleALAE
from stylealae.capabilities import Generates, Reconstructs, of_classes
from stylealae.metrics import fid as frechet
from stylealae.metrics import lpips as perceptual
from stylealae.metrics import ppl as path
from stylealae.metrics import precision_recall as balls
from stylealae.metrics import reconstruction
from stylealae.metrics.features import KNOWN
from stylealae.priors import rng

__all__ = [
    "StyleContext",
    "density_coverage",
    "fid",
    "fid_of_reconstructions",
    "generated",
    "kid",
    "lpips",
    "metric_name",
    "ppl",
    "precision_recall",
    "prior_samples",
    "psnr",
    "reciprocity",
    "reconstructed",
    "ssim",
]

StyleContext = EvaluationContext[StyleALAE]
"""Of what is measured in z, w and G's noise."""


def prior_samples(context: StyleContext, part: SampleRange, purpose: str = "z") -> Tensor:
    """Samples z of the prior.  -> [N, Z]"""
    return context.draws(purpose, part, context.model.latents)


def generated(context: EvaluationContext[Generates], part: SampleRange) -> Tensor:
    """G(F(z)), or G(z), with noise and without truncation.  -> [N, C, R, R]"""
    latents = context.draws("z", part, context.model.latents)
    return context.model.images(latents, context.alpha, _noise(context, part))


def reconstructed(
    context: EvaluationContext[Reconstructs], part: SampleRange
) -> tuple[Tensor, Tensor]:
    """Held-out real images x, and G(E(x)) without noise, of their classes where G takes them.

    -> [N, C, R, R] twice
    """
    split = context.held_out
    x = context.real(split, part)
    classes = partial(true_classes, context, split, context.ids(split, part))
    return x, of_classes(context.model, classes).reconstruct(x, alpha=context.alpha)


def fid(context: EvaluationContext[Generates], by: str) -> Values:
    """Frechet distance of generated images from real ones."""
    real, fake = real_statistics(context, by), _generated_statistics(context, by)
    return {metric_name("fid", by): _frechet_distance(context, real, fake)}


def kid(context: EvaluationContext[Generates], by: str) -> Values:
    """Kernel distance of generated images from real ones, and its standard deviation."""
    real, fake = _feature_rows(context, by)
    mean, sd = frechet.kernel_distance(real, fake, rng(context.seed, "metric/kid", 0))
    return {metric_name("kid", by): mean, metric_name("kid-sd", by): sd}


def precision_recall(context: EvaluationContext[Generates], by: str) -> Values:
    """Improved precision and recall."""
    precision, recall = balls.precision_recall(*_feature_rows(context, by))
    return {metric_name("precision", by): precision, metric_name("recall", by): recall}


def density_coverage(context: EvaluationContext[Generates], by: str) -> Values:
    """Density and coverage."""
    density, coverage = balls.density_coverage(*_feature_rows(context, by))
    return {metric_name("density", by): density, metric_name("coverage", by): coverage}


def fid_of_reconstructions(context: EvaluationContext[Reconstructs], by: str) -> Values:
    """Frechet distance of the reconstructions from their originals."""
    real = real_statistics(context, by, context.held_out)
    again = generated_statistics(
        context, by, "reconstructions", context.real_count(context.held_out),
        lambda part: reconstructed(context, part)[1],
    )  # fmt: skip
    return {metric_name("rfid", by): _frechet_distance(context, real, again)}


def lpips(context: EvaluationContext[Reconstructs], by: str) -> Values:
    """Perceptual distance of the reconstructions from their originals, the mean."""
    see = context.extractors[by].perceptual
    assert see is not None

    def row(part: SampleRange) -> Tensor:
        return perceptual.distance(*reconstructed(context, part), see)[:, None]

    found = context.gathered(context.real_count(context.held_out), 1, "lpips", row)
    return {metric_name("lpips", by): float(found.double().mean())}


def psnr(context: EvaluationContext[Reconstructs]) -> Values:
    """Peak signal-to-noise ratio of the reconstructions, the mean in dB."""
    return {"psnr": float(_pixel_errors(context)[:, 0].mean())}


def ssim(context: EvaluationContext[Reconstructs]) -> Values:
    """Structural similarity of the reconstructions, the mean."""
    return {"ssim": float(_pixel_errors(context)[:, 1].mean())}


def reciprocity(context: StyleContext) -> Values:
    """Squared error of E(G(F(z))) from F(z), without noise; and over the variance of w."""
    model, alpha = context.model, context.alpha

    def row(part: SampleRange) -> Tensor:
        w = model.map(prior_samples(context, part))
        x = model.generate(w, alpha=alpha, noise=False)
        return torch.cat([w, model.encode(x, alpha=alpha)], dim=1)  # [N, 2W]

    found = context.gathered(context.samples, 2 * model.model.w_width, "reciprocity", row)
    error, share = reconstruction.reciprocity(*found.chunk(2, dim=1))
    return {"reciprocity": error, "reciprocity-share": share}


def ppl(context: StyleContext, by: str, space: path.Space, sampling: path.Sampling) -> Values:
    """Perceptual path length in z or w: anywhere on the way, or at its beginning."""
    model, see = context.model, context.extractors[by].perceptual
    assert see is not None
    name = f"ppl-{space}-{sampling}"

    def row(part: SampleRange) -> Tensor:
        a, b = prior_samples(context, part, "path/a"), prior_samples(context, part, "path/b")
        t = context.draws("path/t", part, lambda n, source: torch.rand(n, generator=source))
        t = t if sampling == "full" else torch.zeros_like(t)

        def step(latents: Tensor) -> Tensor:
            w = model.map(latents) if space == "z" else latents
            images = [
                model.generate(half, alpha=context.alpha, noise=_noise(context, part))
                for half in w.chunk(2)
            ]
            return perceptual.distance(images[0], images[1], see)

        if space == "w":
            a, b = model.map(a), model.map(b)
        point = path.slerp if space == "z" else path.between
        return path.path_lengths(a, b, t, point, step)[:, None]

    lengths = context.gathered(context.samples, 1, name, row)[:, 0]
    return {metric_name(name, by): path.mean_within(lengths.double())}


def metric_name(name: str, by: str) -> str:
    """The metric's own name, or one that ends in the role of another extractor."""
    return name if by in KNOWN else f"{name}-{by}"


def _noise(context: EvaluationContext[object], part: SampleRange) -> torch.Generator:
    """The source of G's noise for these samples, the same each time."""
    return rng(context.seed, "metric/noise", part.first, context.world.device)


def _generated_statistics(context: EvaluationContext[Generates], by: str) -> FeatureStatistics:
    return generated_statistics(
        context, by, "generated images", context.samples, lambda part: generated(context, part)
    )


def _frechet_distance(
    context: EvaluationContext[object], real: FeatureStatistics, fake: FeatureStatistics
) -> float:
    device = context.world.device
    return frechet.frechet_distance(real.moments.to(device), fake.moments.to(device))


def _feature_rows(context: EvaluationContext[Generates], by: str) -> tuple[Tensor, Tensor]:
    """Features of real and of generated images.  -> [n, K] twice"""
    real, fake = real_statistics(context, by).rows, _generated_statistics(context, by).rows
    assert real is not None
    assert fake is not None
    return real.to(context.world.device), fake.to(context.world.device)


def _pixel_errors(context: EvaluationContext[Reconstructs]) -> Tensor:
    """PSNR and SSIM of every reconstruction.  -> [n, 2]"""

    def row(part: SampleRange) -> Tensor:
        x, again = (reconstruction.as_stored(image) for image in reconstructed(context, part))
        return torch.stack([reconstruction.psnr(x, again), reconstruction.ssim(x, again)], dim=1)

    found = context.memo.get(("pixel errors",))
    if not isinstance(found, Tensor):
        n = context.real_count(context.held_out)
        found = context.gathered(n, 2, "reconstructions", row).double()
        context.memo["pixel errors",] = found
    return found
