"""Training one stage: the loop, the engine, checkpoints, logs."""
