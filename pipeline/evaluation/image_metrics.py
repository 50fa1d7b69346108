"""The measures of a StyleALAE, each a function of a Subject: what the catalogue names.

`by` is the role of the feature extractor; with another than the one a metric is defined by, the
names of its values end in that role.  All are collective.

Legend: n samples, N images of a batch, C channels, R resolution, Z and W widths, K features.
"""

import torch
from torch import Tensor

from pipeline.evaluation import feature_statistics
from pipeline.evaluation.context import Part, Subject, Values
from stylealae.api import StyleALAE
from stylealae.metrics import fid as frechet
from stylealae.metrics import lpips as perceptual
from stylealae.metrics import ppl as path
from stylealae.metrics import precision_recall as balls
from stylealae.metrics import reconstruction
from stylealae.metrics.features import KNOWN
from stylealae.priors import normal, rng

__all__ = [
    "density_coverage",
    "fid",
    "fid_of_reconstructions",
    "generated",
    "kid",
    "lpips",
    "named",
    "ppl",
    "precision_recall",
    "prior",
    "psnr",
    "reciprocity",
    "reconstructed",
    "ssim",
]

Style = Subject[StyleALAE]


def prior(s: Style, part: Part, purpose: str = "z") -> Tensor:
    """Prior samples.  -> [N, Z]"""
    width = s.model.model.z_width
    return s.draws(purpose, part, lambda n, source: normal(n, width, source))


def generated(s: Style, part: Part) -> Tensor:
    """G(F(z)) with noise and without truncation.  -> [N, C, R, R]"""
    w = s.model.map(prior(s, part))
    return s.model.generate(w, alpha=s.alpha, noise=_noise(s, part))


def reconstructed(s: Style, part: Part) -> tuple[Tensor, Tensor]:
    """Real images that were held out, and G(E(x)) of them without noise.  -> [N, C, R, R] twice"""
    x = s.real(s.held_out, part)
    return x, s.model.reconstruct(x, alpha=s.alpha)


def fid(s: Style, by: str) -> Values:
    """Frechet distance of generated images from real ones."""
    real, fake = feature_statistics.of_real(s, by), _fakes(s, by)
    device = s.world.device
    distance = frechet.frechet_distance(real.moments.to(device), fake.moments.to(device))
    return {named("fid", by): distance}


def kid(s: Style, by: str) -> Values:
    """Kernel distance of generated images from real ones, and its standard deviation."""
    real, fake = _rows(s, by)
    mean, sd = frechet.kernel_distance(real, fake, rng(s.seed, "metric/kid", 0))
    return {named("kid", by): mean, named("kid-sd", by): sd}


def precision_recall(s: Style, by: str) -> Values:
    """Improved precision and recall."""
    precision, recall = balls.precision_recall(*_rows(s, by))
    return {named("precision", by): precision, named("recall", by): recall}


def density_coverage(s: Style, by: str) -> Values:
    """Density and coverage."""
    density, coverage = balls.density_coverage(*_rows(s, by))
    return {named("density", by): density, named("coverage", by): coverage}


def fid_of_reconstructions(s: Style, by: str) -> Values:
    """Frechet distance of the reconstructions from their originals."""
    n = s.real_count(s.held_out)
    real = feature_statistics.of_real(s, by, s.held_out)
    again = feature_statistics.of_generated(
        s, by, "reconstructions", n, lambda part: reconstructed(s, part)[1]
    )
    device = s.world.device
    distance = frechet.frechet_distance(real.moments.to(device), again.moments.to(device))
    return {named("rfid", by): distance}


def lpips(s: Style, by: str) -> Values:
    """Perceptual distance of the reconstructions from their originals, the mean."""
    see = s.extractors[by].perceptual
    assert see is not None

    def row(part: Part) -> Tensor:
        return perceptual.distance(*reconstructed(s, part), see)[:, None]

    found = s.gathered(s.real_count(s.held_out), 1, "lpips", row)
    return {named("lpips", by): float(found.double().mean())}


def psnr(s: Style) -> Values:
    """Peak signal-to-noise ratio of the reconstructions, the mean in dB."""
    return {"psnr": float(_pixels(s)[:, 0].mean())}


def ssim(s: Style) -> Values:
    """Structural similarity of the reconstructions, the mean."""
    return {"ssim": float(_pixels(s)[:, 1].mean())}


def reciprocity(s: Style) -> Values:
    """Squared error of E(G(F(z))) from F(z), without noise; and over the variance of w."""

    def row(part: Part) -> Tensor:
        w = s.model.map(prior(s, part))
        x = s.model.generate(w, alpha=s.alpha, noise=False)
        return torch.cat([w, s.model.encode(x, alpha=s.alpha)], dim=1)  # [N, 2W]

    found = s.gathered(s.samples, 2 * s.model.model.w_width, "reciprocity", row)
    error, share = reconstruction.reciprocity(*found.chunk(2, dim=1))
    return {"reciprocity": error, "reciprocity-share": share}


def ppl(s: Style, by: str, space: path.Space, sampling: path.Sampling) -> Values:
    """Perceptual path length in z or w: anywhere on the way, or at its beginning."""
    see = s.extractors[by].perceptual
    assert see is not None
    name = f"ppl-{space}-{sampling}"

    def row(part: Part) -> Tensor:
        a, b = prior(s, part, "path/a"), prior(s, part, "path/b")
        t = s.draws("path/t", part, lambda n, source: torch.rand(n, generator=source))
        t = t if sampling == "full" else torch.zeros_like(t)

        def step(latents: Tensor) -> Tensor:
            w = s.model.map(latents) if space == "z" else latents
            images = [
                s.model.generate(half, alpha=s.alpha, noise=_noise(s, part)) for half in w.chunk(2)
            ]
            return perceptual.distance(images[0], images[1], see)

        if space == "w":
            a, b = s.model.map(a), s.model.map(b)
        point = path.slerp if space == "z" else path.between
        return path.path_lengths(a, b, t, point, step)[:, None]

    lengths = s.gathered(s.samples, 1, name, row)[:, 0]
    return {named(name, by): path.mean_within(lengths.double())}


def _noise(s: Style, part: Part) -> torch.Generator:
    """The source of G's noise for these samples, the same each time."""
    return rng(s.seed, "metric/noise", part.first, s.world.device)


def _fakes(s: Style, by: str) -> feature_statistics.Statistics:
    return feature_statistics.of_generated(
        s, by, "generated images", s.samples, lambda part: generated(s, part)
    )


def _rows(s: Style, by: str) -> tuple[Tensor, Tensor]:
    """Features of real and of generated images.  -> [n, K] twice"""
    real, fake = feature_statistics.of_real(s, by).rows, _fakes(s, by).rows
    assert real is not None
    assert fake is not None
    return real.to(s.world.device), fake.to(s.world.device)


def _pixels(s: Style) -> Tensor:
    """PSNR and SSIM of every reconstruction.  -> [n, 2]"""

    def row(part: Part) -> Tensor:
        x, again = (reconstruction.as_stored(image) for image in reconstructed(s, part))
        return torch.stack([reconstruction.psnr(x, again), reconstruction.ssim(x, again)], dim=1)

    if "pixels" not in s.memo:
        n = s.real_count(s.held_out)
        s.memo["pixels"] = s.gathered(n, 2, "reconstructions", row).double()
    found: Tensor = s.memo["pixels"]
    return found


def named(name: str, by: str) -> str:
    """The metric's own name, or one that says that it is another extractor's."""
    return name if by in KNOWN else f"{name}-{by}"
