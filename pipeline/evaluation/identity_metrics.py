"""Whether reconstructions keep the person: by a face recogniser, and by a reader of rendered faces.

Legend: n images, N of a batch, C channels, R resolution, P parameters of a face.
"""

import numpy as np
import torch
import torch.nn.functional as fn
from numpy.typing import NDArray
from torch import Tensor

from pipeline.data.format.types import Ints
from pipeline.data.loader.batch import on_device
from pipeline.data.pixels import Pixels
from pipeline.evaluation.context import EvaluationContext, SampleRange, Values
from pipeline.evaluation.image_metrics import reconstructed
from pipeline.faces.dlib_models import Recogniser, enlarged
from stylealae.capabilities import Reconstructs
from stylealae.errors import ConfigError
from stylealae.metrics.features import to_pixels
from stylealae.metrics.reading import Reader, correlations

__all__ = ["identity", "identity_rendered"]

DECILES = (10, 50, 90)
PARAMETERS = (
    "yaw", "smile", "glasses", "hair_length", "hair_tone", "skin_tone", "light_x",
    "backdrop_lightness",
)  # fmt: skip
"""What is read off rendered faces."""
LEARNT_IMG, READ_PX = 4_000, 64
"""Images that the reader learns from, and their largest side."""
Floats = NDArray[np.float64]


def identity(context: EvaluationContext[Reconstructs]) -> Values:
    """Cosine similarity of a reconstruction to its original, and to other people's originals.

    The face is looked for in the original, and described where it lies there in both.
    """
    n, who = context.real_count(context.held_out), Recogniser()

    def row(part: SampleRange) -> Tensor:
        pairs = zip(*(_images(x) for x in reconstructed(context, part)), strict=True)
        rows = np.zeros((part.count, 1 + 2 * who.width))
        for k, (image, again) in enumerate(pairs):
            face = who.face(image)
            if face is not None:
                rows[k] = np.concatenate(
                    [[1.0], who.describe(image, face), who.describe(again, face)]
                )
        return torch.from_numpy(rows).to(context.world.device)

    found = context.gathered(n, 1 + 2 * who.width, "faces", row).double().numpy()
    seen = found[found[:, 0] > 0, 1:]
    x, again = seen[:, : who.width], seen[:, who.width :]
    return {"identity-faces": len(seen) / n, **_similarities(x, again, who.same)}


def identity_rendered(context: EvaluationContext[Reconstructs]) -> Values:
    """How well a rendered face's parameters can be read off its reconstruction.

    A reader that has learnt from images of train reads originals and reconstructions held out; the
    values are correlations with what they were rendered from, each and in the mean, and the
    reconstructions' mean over the originals'.
    """
    n, split = context.real_count(context.held_out), context.held_out
    if split == "train":
        raise ConfigError(
            "identity-rendered reads faces that its reader has not learnt from, and the data set "
            "has no test split: prepare it with --test-fraction 0.02"
        )
    learnt = min(LEARNT_IMG, context.dataset.count("train"))
    ids = np.arange(learnt) * context.dataset.count("train") // learnt
    x = on_device(context.dataset.take("train", ids), 1.0, context.world.device)
    read = Reader(_flat(x), _known(context, "train", ids).to(x.device))

    def row(part: SampleRange) -> Tensor:
        return torch.cat([read(_flat(x)) for x in reconstructed(context, part)], dim=1)

    k = len(PARAMETERS)
    found = context.gathered(n, 2 * k, "parameters", row)  # [n, 2P]
    known = _known(context, split, context.ids(split, SampleRange(0, len(found))))
    of_x, of_again = (correlations(part, known) for part in (found[:, :k], found[:, k:]))
    name = "identity-rendered"
    return {
        name: float(of_again.mean()),
        f"{name}-originals": float(of_x.mean()),
        f"{name}-share": float(of_again.mean() / of_x.mean()),
        **{f"{name}/{p}": float(r) for p, r in zip(PARAMETERS, of_again, strict=True)},
        **{f"{name}-originals/{p}": float(r) for p, r in zip(PARAMETERS, of_x, strict=True)},
    }


def _known(context: EvaluationContext[Reconstructs], split: str, ids: Ints) -> Tensor:
    """The parameters that images were rendered from.  [n] -> [n, P]"""
    columns = [context.dataset.labels(split, name, ids) for name in PARAMETERS]
    return torch.from_numpy(np.stack(columns, 1).astype(np.float64))


def _flat(x: Tensor) -> Tensor:
    """[N, C, R, R] -> [N, numbers of an image of at most 64x64]"""
    return fn.avg_pool2d(x.clamp(-1, 1), max(1, x.shape[-1] // READ_PX)).flatten(1)


def _similarities(x: Floats, again: Floats, same: float) -> Values:
    """The values of `identity`, of descriptions of originals and reconstructions.  [n, 128] each"""
    unit_x, unit_again = (a / np.linalg.norm(a, axis=1, keepdims=True) for a in (x, again))
    cosines = unit_again @ unit_x.T  # [n, n]
    own = np.diag(cosines)
    others = cosines[~np.eye(len(x), dtype=bool)]
    nearest = (cosines > own[:, None]).sum(1) == 0
    values = {
        "identity": own,
        "identity-others": others,
        "identity-same": np.linalg.norm(x - again, axis=1) < same,
        "identity-first": nearest,
    }
    means = {name: float(v.mean()) if v.size else float("nan") for name, v in values.items()}
    deciles = {
        f"{name}-p{p}": float(np.percentile(values[name], p)) if values[name].size else float("nan")
        for name in ("identity", "identity-others")
        for p in DECILES
    }
    return means | deciles


def _images(x: Tensor) -> list[Pixels]:
    """[N, C, R, R] in [-1, 1] -> N of [H, H, 3], large enough for the recogniser"""
    return [enlarged(image) for image in to_pixels(x).permute(0, 2, 3, 1).cpu().numpy()]
