"""Train one model on several machines: each of them runs this, as the documentation says."""

import argparse

import mne_hmm

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("prepared", help="folder that mne_hmm.prepare(..., cache_dir=...) wrote")
parser.add_argument("model", help="file of the model, which the first worker writes")
parser.add_argument("--states", type=int, default=8, help="number of states")
parser.add_argument("--checkpoints", default="checkpoints", help="folder that all workers share")
parser.add_argument("--slurm", action="store_true", help="take the workers' addresses from SLURM")
arguments = parser.parse_args()

# workers
resolver = None  # the environment variable TF_CONFIG
if arguments.slurm:
    import tensorflow as tf

    # One number per task: which GPU a task sees is left to SLURM.
    resolver = tf.distribute.cluster_resolver.SlurmClusterResolver(
        port_base=23456, gpus_per_node=64, gpus_per_task=1, auto_set_gpu=False
    )
strategy = mne_hmm.multi_worker_strategy(resolver, timeout=300.0)

# train
hmm = mne_hmm.fit_hmm(
    mne_hmm.read_prepared(arguments.prepared),
    n_states=arguments.states,
    strategy=strategy,
    checkpoint_dir=arguments.checkpoints,
    random_state=0,
)

# save
if strategy.extended.should_checkpoint:  # true on the first worker alone
    hmm.save(arguments.model, overwrite=True)
