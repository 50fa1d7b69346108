"""The one DeepSpeed engine: what a phase trains, its backward pass and its step.

One engine over one module that returns a phase's loss; a parameter group for each network, and
another for layers of it that init.freeze keeps for a while; what a phase does not train is frozen,
and its groups are skipped by the optimizer (optimizer.py).  Who updates what, and what the ranks
send each other for it, is the partition's matter (partition.py, sharding.py); float16's loss scales
are the scaler's (scaler.py).
"""

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from pipeline.arithmetic import tf32_of
from pipeline.config import RunConfig
from pipeline.config.sections import EngineConfig
from pipeline.training.deepspeed_config import deepspeed_config, is_sharded
from pipeline.training.groups import network_of, parameter_groups, trained_by
from pipeline.training.optimizer import KINDS
from pipeline.training.partition import ByDeepSpeed, Partition
from pipeline.training.phase_loss import PhaseLoss
from pipeline.training.scaler import LossScaler
from pipeline.training.sharding import Sharded
from pipeline.training.shared_pass import SharedPass
from pipeline.world import World
from stylealae.families import FAMILIES
from stylealae.networks.group import NetworkGroup
from stylealae.phase_inputs import PhaseInputs
from stylealae.phases import AnyPhase
from stylealae.schedule import Progress, at_stage

__all__ = ["Engine"]

log = logging.getLogger(__name__)


class Engine:
    """Trains the networks of one stage.  Every public method is collective."""

    def __init__(self, nets: NetworkGroup, at: Progress, cfg: RunConfig, world: World) -> None:
        self.nets, self._first = nets, world.rank == 0
        share = at.batch // world.size
        self.micro = min(at_stage(cfg.engine.micro_batch, at.stage) or share, share)
        self.names = {p: name for name, p in nets.named_parameters()}
        phases = FAMILIES[cfg.family].phases(cfg.loss, 0)
        begins = cfg.span(at.stage)[0]
        kept = cfg.init.frozen_layers if begins < cfg.init.freeze_img else {}
        self.params = parameter_groups(nets, at, phases, kept)
        nets.recompute_from(cfg.engine.recompute_from)
        how = _worthwhile(cfg.engine, world)
        self._zero = how.zero_stage
        self._tf32 = cfg.engine.tf32
        self._deepspeed = _deepspeed(how, on_gpu=world.device.type == "cuda")
        nets.requires_grad_(False)
        self._unfreeze()
        self._partition = self._partitioned(how, world)
        held = [self._partition.held(a) for a in self.params]
        self._optimizer = KINDS[cfg.optimizer.kind](held, cfg.optimizer)
        module = PhaseLoss(nets, cfg.loss, cfg.engine.precision, world.device)
        whole = self.micro == share and (not how.zero_stage or is_sharded(how))
        self._shared = SharedPass(module, self.params) if whole else None
        # DeepSpeed sends the weights in a group of its own, which NCCL gives ten minutes: a rank
        # that is at its store for longer is waited for here.
        world.any(False)
        self._engine, _, _, _ = self._deepspeed.initialize(
            model=module,
            optimizer=self._optimizer,
            config=deepspeed_config(
                how,
                batch=at.batch,
                micro_batch=self.micro,
                parameters=sum(p.numel() for p in nets.parameters()),
                on_gpu=world.device.type == "cuda",
            ),
        )
        group = self._engine.data_parallel_group  # its own, and ours for what a step sends
        dist.distributed_c10d._set_pg_timeout(timedelta(seconds=cfg.engine.timeout_s), group)
        if isinstance(self._partition, Sharded) or (world.size == 1 and not self._zero):
            self._engine.enable_backward_allreduce = False  # done, or nobody to average with
        if not how.zero_stage or is_sharded(how):  # its own walks through all modules
            self._engine.zero_grad = self._forget_gradients
        self._partition.attach(self._optimizer, self._engine)
        names, scaled = [p.name for p in phases], cfg.engine.precision == "fp16"
        self._scaler = LossScaler(names, world, group) if scaled else None
        self._owners = self._moments_created(phases)
        self._partition.link()

    def step(self, phase: AnyPhase, x: Tensor, r: PhaseInputs, at: Progress) -> Tensor:
        """Trains the phase's networks on this rank's share of the batch; its mean loss.

        [n, C, R, R] in [-1, 1] -> [], float32, detached and not averaged over the ranks
        """
        with tf32_of(self._tf32, phase):
            return self._step(phase, x, r, at)

    def _step(self, phase: AnyPhase, x: Tensor, r: PhaseInputs, at: Progress) -> Tensor:
        working = {p for network in phase.trains for p in self.nets.grown(network, at)}
        trained = trained_by(phase, self.params, frozen=at.frozen)
        for name, group in zip(self.params, self._optimizer.param_groups, strict=True):
            group["owner"] = phase.moments if name in trained else None
            group["lr"] = at.lr * phase.rate
            for p in self.params[name]:
                p.requires_grad_(name in trained and p in working)
        self._partition.begin(trained)
        if self._shared is not None:
            r = self._shared.inputs(phase, x, r, at)
        losses = []
        for i in range(0, len(x), self.micro):
            part = slice(i, i + self.micro)
            loss = self._engine(phase, x[part], r.part(part, len(x)), at).float()
            if part.stop >= len(x):
                self._partition.reduce_from_here()
            self._engine.backward(self._scaler.scaled(phase.name, loss) if self._scaler else loss)
            if part.stop >= len(x):
                self._partition.reduced()
                self._unscale_later(phase.name)
            self._engine.step()
            losses.append(loss.detach())  # to be summed up over many iterations
        self._partition.stepped()
        return torch.stack(losses).mean()

    def scalars(self) -> dict[str, float]:
        """Loss scales and skipped steps by tag, where there are any.

        Raises:
            DivergenceError: the steps of a phase keep being skipped.
        """
        return {} if self._scaler is None else self._scaler.scalars()

    @contextmanager
    def gathered(self) -> Iterator[None]:
        """Whole weights on every rank inside the block: ZeRO 3 keeps a slice on each."""
        whole = self._deepspeed.zero.GatheredParameters(
            list(self.nets.parameters()), enabled=self._zero == 3
        )
        with whole:
            yield

    def state_dict(self) -> dict[str, Tensor]:
        """Gathered moments by parameter name, step counts and loss scales, on rank 0's CPU.

        The other ranks take part and get nothing: a host has the moments once, not once a GPU.
        """
        state: dict[str, Tensor] = {}
        self._unfreeze()
        for network, owners in self._owners.items():
            for moment in self._optimizer.moments_of(owners):
                for p, whole in self._partition.moments(network, moment).items():
                    if self._first:
                        state[f"{moment}/{self.names[p]}"] = whole.cpu()
        if not self._first:
            return state
        for network, count, held in self._counts():
            steps, name = self._optimizer.state[held][count].detach().cpu(), f"{count}/{network}"
            # An entrance that has faded out is no longer stepped: the others' count is the group's.
            state[name] = torch.maximum(steps, state.get(name, steps))
        return state if self._scaler is None else {**state, **self._scaler.state_dict()}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Goes on from what `state_dict` gave, at any world size and ZeRO stage.

        What other settings have no moments of begins at zero, which is said.
        """
        self._unfreeze()
        fresh = set[str]()

        def saved(name: str, shape: torch.Size) -> Tensor:
            if name not in state:
                fresh.add(name.partition("/")[0])
                return torch.zeros(shape)
            return state[name]

        for network, owners in self._owners.items():
            for moment in self._optimizer.moments_of(owners):
                values = {
                    p: saved(f"{moment}/{self.names[p]}", getattr(p, "ds_shape", p.shape))
                    for p in self.params[network]
                }
                self._partition.set_moments(network, moment, values)
        for network, count, held in self._counts():
            steps = self._optimizer.state[held][count]
            steps.copy_(saved(f"{count}/{network}", steps.shape))
        if fresh and self._first:
            log.warning(
                "the checkpoint is of other settings and lacks some of the optimizer's %s: they "
                "begin at zero", ", ".join(sorted(fresh)),
            )  # fmt: skip
        if self._scaler is not None:
            self._scaler.load_state_dict(state)

    def close(self) -> None:
        """Gives DeepSpeed's buffers back; without it every stage leaks an engine."""
        self._partition.close()
        self._engine.destroy()

    def _moments_created(self, phases: Sequence[AnyPhase]) -> dict[str, set[str]]:
        """Has the optimizer make every phase its moments; their owners by parameter group."""
        owners_of = {
            a: {p.moments for p in phases if network_of(a) in p.trains} for a in self.params
        }
        for name, owners in owners_of.items():
            self._optimizer.create_state(self._partition.held(name), owners)
        return owners_of

    def _partitioned(self, cfg: EngineConfig, world: World) -> Partition:
        """The partition: which rank updates which parameters."""
        if is_sharded(cfg):
            return Sharded(
                self.params,
                world,
                bucket=cfg.bucket_mib << 18,  # numbers of four bytes
                reduce_dtype=torch.bfloat16 if cfg.reduce_dtype == "bf16" else torch.float32,
            )
        if cfg.zero_stage:
            return ByDeepSpeed(self.params, self._deepspeed.utils, cfg, world)
        return Partition(self.params)

    def _unscale_later(self, phase: str) -> None:
        """Has the optimizer divide the gradients by the scale, or skip the step.  Collective."""
        if self._scaler is not None:
            self._optimizer.grad_scale, self._optimizer.found_inf = self._scaler.decided(
                phase, self._partition.gradients()
            )

    def _forget_gradients(self) -> None:
        """Sets every gradient to None."""
        for p in self.names:
            p.grad = None

    def _unfreeze(self) -> None:
        """Makes every parameter require a gradient: DeepSpeed ignores the others."""
        for params in self.params.values():
            for p in params:
                p.requires_grad_(True)

    def _counts(self) -> Iterator[tuple[str, str, Tensor]]:
        """(network, count, what is updated) of every step count there is."""
        for network, owners in self._owners.items():
            for held in self._partition.held(network):
                for count in self._optimizer.counts_of(owners):
                    yield network, count, held


def _deepspeed(cfg: EngineConfig, *, on_gpu: bool) -> Any:
    """DeepSpeed, imported when an engine wants it: by then its device has been chosen."""
    import deepspeed

    logging.getLogger("DeepSpeed").setLevel(logging.ERROR)
    # On CPUs it would compile a shared-memory all-reduce, which needs a C++ compiler and leaves
    # 69 MB a rank in /dev/shm when a process is killed; gloo does.  There is no setting for it.  On
    # GPUs it would not, and to ask for this dictionary has every operation of CUDA's probed.
    if not on_gpu:
        deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False
    if cfg.zero_stage and not is_sharded(cfg):
        # ZeRO loads Muon, which compiles functions as it is imported and so takes torch's compiler,
        # seconds of every start.  It is imported here without, and not used.
        compiler = deepspeed.runtime.compiler
        kept, compiler.compile = compiler.compile, lambda *_, **__: lambda function: function
        import deepspeed.runtime.zero.muon.muon_optimizer

        compiler.compile = kept
    return deepspeed


def _worthwhile(cfg: EngineConfig, world: World) -> EngineConfig:
    """The config without ZeRO 1 where there is a single rank: nothing to share out.

    It would copy every gradient into one flat tensor, a tenth of a step at 256x256 on a CPU.
    """
    if world.size == 1 and cfg.zero_stage == 1 and not cfg.offload:
        return replace(cfg, zero_stage=0)
    return cfg
