"""What a run will do and take, printed without starting it: `stylealae plan` and `--dry-run`."""

import json
import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import click

from pipeline.config import RunConfig, as_dict, as_yaml
from stylealae.errors import ConfigError

__all__ = ["PlanRequest", "dry_run", "parse_request"]


@dataclass(frozen=True, kw_only=True)
class PlanRequest:
    """What to plan for beside the config."""

    gpu_gib: float = 0.0
    """Change what must be changed for every stage to fit workers of so much memory."""
    gpus: int = 0
    """Share the run among so many; 0 takes the config's own numbers of workers."""
    gpu: str = ""
    """Forecast the run on GPUs of this name, by their data sheet."""
    price: float = 0.0
    """Of one GPU and hour, in any currency."""
    rates: Path | None = None
    """Forecast the run with rates that were measured."""
    as_json: bool = False
    """One line of JSON, with the resolved config, in place of tables."""

    def __post_init__(self) -> None:
        """Refuse numbers that mean nothing."""
        for name, value in (("gpu-gib", self.gpu_gib), ("price", self.price)):
            if not 0 <= value < math.inf:
                raise ConfigError(f"--{name} is {value:g}: give a number above 0")


log = logging.getLogger(__name__)

OPTIONS = {"--gpus": int, "--gpu": str, "--price": float, "--gpu-gib": float, "--rates": Path}


def parse_request(argv: Sequence[str]) -> tuple[PlanRequest, list[str]]:
    """The request in a launch script's arguments, and the other arguments.

    Raises:
        ConfigError: a number is none.
    """
    options: dict[str, str | float | Path] = {}
    others: list[str] = []
    words = iter(argv)
    for word in words:
        if word not in OPTIONS:
            others.append(word)
            continue
        value = next(words, "")
        try:
            options[word[2:].replace("-", "_")] = OPTIONS[word](value)
        except ValueError as error:
            raise ConfigError(f"{word} is {value!r}: give a number") from error
    return PlanRequest(**options), others  # type: ignore[arg-type]


def dry_run(cfg: RunConfig, request: PlanRequest) -> None:
    """Prints the stage plan, then the resolved config, and starts nothing."""
    from rich.console import Console

    from pipeline.planning.advice import advice
    from pipeline.planning.devices import GPUS, Rates
    from pipeline.planning.forecast import Outlook, shared_among
    from pipeline.planning.memory import GIB, fitted
    from pipeline.planning.tables import forecast_table, plan_rows, plan_table

    if request.gpus:
        cfg = shared_among(cfg, request.gpus)
    rates = Rates.read(request.rates) if request.rates else None
    if request.gpu and rates is None:
        rates = Rates.estimated(request.gpu)
    if request.gpu in GPUS and cfg.engine.precision == "bf16" and not GPUS[request.gpu].bf16:
        raise ConfigError(
            f"engine.precision is bf16, for which a {request.gpu} has no instructions: set "
            "engine.precision=fp16, or fp32"
        )
    _tell_of_sizes(cfg)
    gib = request.gpu_gib or (GPUS[request.gpu].memory_gib if request.gpu in GPUS else 0.0)
    if gib:
        cfg = fitted(cfg, int(gib * GIB))
    outlook = Outlook(cfg=cfg, rates=rates, gpus=request.gpus, price=request.price)
    if request.as_json:
        stages = plan_rows(outlook)
        click.echo(json.dumps({"run_dir": cfg.run_dir, "stages": stages, "config": as_dict(cfg)}))
        return
    terminal = Console(soft_wrap=True)
    terminal.print(plan_table(outlook))
    if rates is not None:
        terminal.print(forecast_table(outlook))
        for sentence in advice(outlook):
            click.echo(f"* {sentence}")
    if gib:
        micro = ",".join(map(str, cfg.engine.micro_batch))
        click.echo(
            f"to fit {gib:g} GiB a worker, give: 'engine.micro_batch=[{micro}]' "
            f"engine.recompute_from={cfg.engine.recompute_from} "
            f"engine.offload={str(cfg.engine.offload).lower()}"
        )
    if request.gpus:
        counts = ",".join(map(str, cfg.cluster.workers))
        click.echo(f"to share it among {request.gpus}, give: 'cluster.workers=[{counts}]'")
    click.echo(f"\nthe config, every key of it:\n\n{as_yaml(cfg)}")


def _tell_of_sizes(cfg: RunConfig) -> None:
    """Warns where the data set, if it is on this host, has no images for a stage."""
    from pipeline.cli.beginning import lacking_sizes
    from pipeline.data.format.manifest import MANIFEST, Manifest
    from pipeline.storage import is_url

    if is_url(cfg.data.path) or not (Path(cfg.data.path) / MANIFEST).is_file():
        return
    if lacking := lacking_sizes(cfg, Manifest.read(cfg.data.path), cfg.stages[0]):
        log.warning("%s", lacking)
