"""The Slurm script on a real Slurm: time limit, requeue, scancel."""
