"""Golden trajectories: what training comes to, recorded, and compared ever after.

    python -m tests.golden check     compare with golden.json, as the suite does
    python -m tests.golden record    write golden.json anew: a change that is meant to move numbers

Every family trains for 30 iterations and more in the real trainer, in float32, on one rank; each
iteration's losses, and the weights, averages and moments at the end, are hashed.  Where the
processor, torch and threads are those of the record every bit must be the same.  Elsewhere sums are
rounded in another order and games between networks amplify that, so there the first iterations'
losses and the final norms are compared, by tolerance.
"""
