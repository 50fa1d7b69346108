"""Directions: planted ones are found again, and a move does what it says and nothing else."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from stylealae import StyleALAE
from stylealae.config import ModelConfig
from stylealae.editing.attributes import METHODS, Separate, fit
from stylealae.editing.directions import Directions, principal, sefa
from stylealae.errors import CheckpointError, ConfigError, DataError
from stylealae.networks import build

SMALL = ModelConfig(
    resolution=16, start_channels=4, max_channels=8, z_width=8, w_width=8, mapping_layers=2
)
WIDTH, COUNT = 24, 1500


def planted(noise: float = 0.3) -> tuple[Tensor, dict[str, list[float]], Tensor]:
    """Styles that are sums of three attributes' directions; the first two go together.

    -> w [N, W], labels, directions [3, W]
    """
    source = torch.Generator().manual_seed(0)
    true = torch.nn.functional.normalize(torch.randn(3, WIDTH, generator=source), dim=1)
    y = torch.randn(COUNT, 3, generator=source)
    y[:, 1] = 0.7 * y[:, 0] + 0.7 * y[:, 1]
    w = 2 * y @ true + noise * torch.randn(COUNT, WIDTH, generator=source) + 5
    return w, dict(zip(("smile", "age", "hair"), y.T.tolist(), strict=True)), true


def test_effects_are_found_though_the_labels_go_together():
    w, labels, true = planted()
    d = fit(w, labels)
    assert d.names == ("smile", "age", "hair")
    assert (d.vectors * true).sum(1).min() > 0.999
    report = d.about["attributes"]
    assert all(report[name]["correlation"] > 0.95 for name in d.names)
    assert all(report[name]["accuracy"] > 0.85 for name in d.names)
    assert all(report[name]["chance"] < 0.6 for name in d.names)


@pytest.mark.parametrize("method", METHODS)
def test_every_method_predicts_the_attribute_of_styles_it_has_not_seen(method: str):
    w, labels, true = planted(noise=0.1)
    binary = {"smile": [float(v > 0) for v in labels["smile"]], "hair": labels["hair"]}
    d = fit(w, binary, method=method)  # type: ignore[arg-type]
    assert all(d.about["attributes"][name]["accuracy"] > 0.9 for name in d.names)
    assert (d.vectors[1] @ true[2]) > 0.9
    order = np.corrcoef(d.scores(w)[:, 1], labels["hair"])[0, 1]
    assert order > 0.95


@pytest.mark.parametrize("method", ["svm", "logistic"])
def test_a_number_that_most_styles_have_the_least_of_is_read_off_the_rest(method: str):
    w, labels, true = planted(noise=0.1)
    beard = [max(v - 0.8, 0.0) for v in labels["hair"]]  # of three quarters 0
    two = [0.25 if v > 0 else -0.5 for v in labels["smile"]]
    d = fit(w, {"beard": beard, "smile": two}, method=method)  # type: ignore[arg-type]
    assert d.about["attributes"]["beard"]["accuracy"] > 0.95
    assert d.about["attributes"]["smile"]["accuracy"] > 0.9
    assert (d.vectors[0] @ true[2]) > 0.8


def test_noise_is_not_called_an_attribute():
    w, _, _ = planted()
    said = fit(w, {"noise": torch.randn(COUNT).tolist()}).about["attributes"]["noise"]
    assert abs(said["correlation"]) < 0.2
    assert abs(said["accuracy"] - said["chance"]) < 0.1


@pytest.mark.parametrize("separate", ["no", "conditioned", "orthogonal"])
def test_separation(separate: Separate):
    w, labels, _ = planted()
    d = fit(w, labels, method="svm", separate=separate)
    cosines = d.cosines() - torch.eye(3)
    entangled = d.entanglement() * (1 - torch.eye(3))
    if separate == "no":
        assert cosines.abs().max() > 0.1
        assert entangled.abs().max() > 0.1
    if separate == "conditioned":
        assert entangled.abs().max() < 1e-4
        before, after = d.scores(w), d.scores(w + d.step({"age": 2.0}))
        assert torch.allclose(after[:, (0, 2)], before[:, (0, 2)], atol=1e-4)
        assert (after - before)[:, 1].min() > 0.5
    if separate == "orthogonal":
        assert cosines.abs().max() < 1e-5


def test_classes_and_unknown_labels():
    w, labels, _ = planted()
    age = ["old" if v > 0.5 else "young" if v < -0.5 else "grown" for v in labels["age"]]
    smile = ["yes" if v > 0 else "no" for v in labels["smile"]]
    known = [None if k % 5 == 0 else value for k, value in enumerate(smile)]
    d = fit(w, {"age": age, "smile": known, "rare": [float(k < 3) for k in range(COUNT)]})
    assert d.names == ("age:grown", "age:old", "age:young", "smile:yes")
    assert d.vectors[1] @ d.vectors[2] < -0.2
    with pytest.raises(DataError, match="no label separates"):
        fit(w, {"same": [1.0] * COUNT, "unknown": [None] * COUNT})
    with pytest.raises(DataError, match="give one each"):
        fit(w, {"smile": [1.0]})


def test_what_cannot_be_separated_is_said():
    w, labels, _ = planted()
    with pytest.raises(ConfigError, match="nothing of"):
        fit(w, {"one": labels["age"], "two": labels["age"]}, method="svm", separate="conditioned")
    with pytest.raises(ConfigError, match="combinations of others"):
        fit(w, {"one": labels["age"], "two": labels["age"]}, separate="orthogonal")


def test_amounts_are_standard_deviations_of_w():
    w, labels, _ = planted()
    d = fit(w, labels)
    step = d.step({"hair": 2.0})
    assert torch.allclose(step.norm(), 2 * (w @ d.vectors[2]).std(), rtol=1e-5)
    assert torch.allclose(d.step({"hair": 1.0, "age": -1.0}), step / 2 - d.step({"age": 1.0}))
    assert torch.allclose(d.scores(w).std(0), torch.ones(3), rtol=1e-4)
    assert d.scores(w).mean(0).abs().max() < 1e-4
    with pytest.raises(ConfigError, match="Did you mean 'smile'"):
        d.step({"smiles": 1.0})


def test_saved_is_loaded_and_torn_is_refused(tmp_path: Path):
    w, labels, _ = planted()
    d = fit(w, labels)
    d.save(tmp_path / "new")
    again = Directions.load(tmp_path / "new")
    assert again.names == d.names
    assert torch.equal(again.step({"age": 1.5}), d.step({"age": 1.5}))
    assert torch.equal(again.scores(w), d.scores(w))
    told = json.loads((tmp_path / "new" / "directions.json").read_text())
    assert told["about"]["attributes"]["smile"]["accuracy"] > 0.85
    assert np.allclose(told["entanglement"], d.entanglement(), atol=1e-3)
    with pytest.raises(CheckpointError, match="stylealae directions"):
        Directions.load(tmp_path)
    weights = tmp_path / "new" / "directions.safetensors"
    weights.write_bytes(weights.read_bytes()[:50])
    with pytest.raises(CheckpointError, match="no whole directions"):
        Directions.load(tmp_path / "new")


def test_principal_directions_are_scikit_learns():
    from sklearn.decomposition import PCA

    w, _, _ = planted()
    d = principal(w, 5)
    theirs = PCA(5).fit(w.double().numpy())
    same = np.abs((d.vectors.double().numpy() * theirs.components_).sum(1))
    assert same.min() > 1 - 1e-6
    assert np.allclose(d.spreads, np.sqrt(theirs.explained_variance_), rtol=1e-4)
    assert np.allclose(d.about["share_of_variance"], theirs.explained_variance_ratio_, atol=1e-4)
    with pytest.raises(ConfigError, match="1 to 24 principal"):
        principal(w, 25)


def test_sefa_directions_are_those_that_move_the_affines_most():
    nets = build(SMALL, 3)
    w = torch.randn(100, 8)
    d = sefa(nets.G, w, 8, layers=(2, 3))
    block = nets.G.blocks[1]
    A = torch.cat([block.layer_1.affine.weight, block.layer_2.affine.weight])  # type: ignore
    A = A / A.norm(dim=1, keepdim=True)
    answer = (A @ d.vectors.T).norm(dim=0)
    assert torch.allclose(answer.square(), torch.tensor(d.about["eigenvalues"]), atol=1e-3)
    assert (answer[:-1] >= answer[1:] - 1e-6).all()
    anywhere = torch.nn.functional.normalize(torch.randn(500, 8), dim=1)
    assert (A @ anywhere.T).norm(dim=0).max() <= answer[0] + 1e-5
    assert torch.allclose(d.cosines(), torch.eye(8), atol=1e-5)
    with pytest.raises(ConfigError, match="this model's are 0 to 5"):
        sefa(nets.G, w, 2, layers=(2, 6))


def test_edit_moves_only_the_layers_that_the_directions_are_of():
    m = StyleALAE(build(SMALL, 1), SMALL, torch.zeros(6, 8), stage=2)
    w = m.styles(3)
    d = m.sefa(2, layers=(4, 5))
    moved = m.edit(w, {"sefa1": 3.0}, d)
    assert moved.shape == (3, 6, 8)
    assert torch.equal(moved[:, :4], w[:, None].expand(-1, 4, -1))
    assert not torch.equal(moved[:, 4], w)
    assert torch.allclose(m.edit(w, {"sefa1": 0.0}, d)[:, 5], w)
    everywhere = m.principal(2, n=200)
    moved = m.edit(w, {"pc1": 1.0}, everywhere)
    assert torch.allclose(moved[:, 5] - w, everywhere.step({"pc1": 1.0}).expand(3, -1), atol=1e-6)
    other = principal(torch.randn(50, 4), 2)
    with pytest.raises(ConfigError, match="fit directions for this model"):
        m.edit(w, {"pc1": 1.0}, other)
