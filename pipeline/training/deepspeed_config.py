"""The config that an engine gives to DeepSpeed: settings of ours by its names of them."""

from typing import Any

from pipeline.config.sections import EngineConfig

__all__ = ["deepspeed_config", "is_sharded"]

MAX_BUCKET = 64 << 20
"""Numbers that ZeRO reduces at once, at most."""
BIASES = 512
"""ZeRO 3 keeps tensors of no more numbers whole on every rank."""


def is_sharded(cfg: EngineConfig) -> bool:
    """Whether `Sharded` does ZeRO in DeepSpeed's place: stage 1 without offload."""
    return cfg.zero_stage == 1 and not cfg.offload


def deepspeed_config(
    cfg: EngineConfig, *, batch: int, micro_batch: int, parameters: int, on_gpu: bool
) -> dict[str, Any]:
    """The config of an engine that is given the optimizer, the loss and its precision.

    Args:
        cfg: the run's, with the ZeRO stage that is worthwhile.
        batch: images of an iteration, on all ranks together.
        micro_batch: images that a rank holds at once; those of an iteration are accumulated.
        parameters: numbers in all networks.
        on_gpu: whether the ranks are on GPUs.
    """
    zero: dict[str, Any] = {"stage": 0 if is_sharded(cfg) else cfg.zero_stage}
    if zero["stage"]:
        # A bucket is allocated anew in every phase: no larger than what it can hold.  Nothing is
        # clipped, so the norm, a collective for every network, is left out.
        zero["reduce_bucket_size"] = min(parameters, MAX_BUCKET)
        zero["contiguous_gradients"] = False
    if zero["stage"] == 2:
        # Reduced to the rank that wants it, during the backward pass: half an all-reduce's bytes.
        zero["contiguous_gradients"] = True
        zero["use_multi_rank_bucket_allreduce"] = False
        zero["reduce_bucket_size"] = min(parameters, (cfg.bucket_mib << 18) or MAX_BUCKET)
    if zero["stage"] in (1, 2):
        zero["compute_grad_norm"] = cfg.offload
    if cfg.offload:
        zero["offload_optimizer"] = {"device": "cpu", "pin_memory": on_gpu}
    if cfg.zero_stage == 3:
        zero["stage3_param_persistence_threshold"] = BIASES
        zero["memory_efficient_linear"] = False  # it replaces torch's for the life of the process
    return {
        "train_batch_size": batch,
        "train_micro_batch_size_per_gpu": micro_batch,
        "gradient_clipping": 0.0,  # its default of 1.0 would rescale every GAN step
        "zero_optimization": zero,
        "zero_allow_untested_optimizer": True,
        "zero_force_ds_cpu_optimizer": False,  # ours steps on the host as well
        "communication_data_type": cfg.reduce_dtype,
        "steps_per_print": 1 << 60,
        "timers": {"throughput": {"enabled": False}},  # it would wait for the device twice a step
    }
