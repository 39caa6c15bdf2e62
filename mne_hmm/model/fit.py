"""One call from recordings to a trained model."""

from bisect import bisect_right
from collections.abc import Hashable, Sequence
from typing import Any

import mne
import numpy as np
from mne.utils import logger, verbose

from .._utils.checks import check_number, check_option, check_random_state, listed, plural
from .._utils.docs import fill_doc
from .._utils.files import check_folder
from .._utils.locks import checkpoints_held
from .._utils.mne_private import warn
from ..io.parcel_inputs import AtlasArguments
from ..preparation.prepare import prepare
from ..preparation.prepared_data import PreparedData, as_prepared
from ..preparation.settings import Preparation
from ..states.time_course import StateTimeCourse
from ..statistics.recording_dependence import count_blocks, dependence_of
from .file import Learned, software_versions
from .hmm import HMM, default_state_names
from .inference import chain_lengths
from .priors import Priors
from .progress import Progress

# Samples in a sequence of a mini-batch: long against visits to states, so that few are cut.
SEQUENCE_LENGTH = 1000


@verbose
@fill_doc
def fit_hmm(
    inst: Any,
    n_states: int,
    *,
    preparation: Preparation | None = None,
    picks: Any = None,
    reject_by_annotation: bool = True,
    sfreq: float | None = None,
    learn_means: bool | str = "auto",
    learn_covariances: bool = True,
    learn_transitions: bool = True,
    covariance_type: str = "full",
    initial_means: np.ndarray | None = None,
    initial_covariances: np.ndarray | None = None,
    initial_transition_matrix: np.ndarray | None = None,
    initial_probs: np.ndarray | None = None,
    init: Any = "kmeans",
    n_init: int = 3,
    refine: bool = True,
    max_iter: int = 100,
    tol: float = 1e-4,
    priors: Priors | None = None,
    sequence_length: int | None = None,
    batch_size: int | None = None,
    strategy: Any = None,
    checkpoint_dir: Any = None,
    log_dir: Any = None,
    on_interrupt: str = "raise",
    atlas: Any = None,
    src: Any = None,
    subjects_dir: Any = None,
    group: Sequence[Hashable] | None = None,
    random_state: Any = None,
    n_jobs: int | None = None,
    verbose: Any = None,
) -> HMM:
    """Find recurring brain states in recordings with a hidden Markov model.

    Recordings are prepared, a model with Gaussian states is trained by exact
    expectation-maximization, and the states of the recordings are given as annotations.

    Parameters
    ----------
    %(inst)s
    n_states : int
        Number of states, at least 2.
    preparation : Preparation | None
        How recordings become features. None is ``Preparation()``: 1-45 Hz, 250 Hz,
        15 lags, 80 principal components. Not for PreparedData, which are prepared already.
    %(picks)s
    %(reject_by_annotation)s
    %(sfreq)s
    learn_means : bool | "auto"
        Whether states have means of their own. If False they are ``initial_means``, or zero.
        ``"auto"`` learns them unless the features are time-delay embedded.
    learn_covariances : bool
        Whether to learn the states' covariances. If False they stay as they start.
    learn_transitions : bool
        Whether to learn transition and initial probabilities. If False they stay as they
        start.
    covariance_type : "full" | "diag"
        Form of the covariances.
    initial_means : array, shape (n_states, n_features) | None
        Means to start from.
    initial_covariances : array, shape (n_states, n_features, n_features) | None
        Covariances to start from.
    initial_transition_matrix : array, shape (n_states, n_states) | None
        Transition probabilities to start from. None starts from 0.9 on the diagonal.
    initial_probs : array, shape (n_states,) | None
        Initial probabilities to start from. None starts from equal ones.
    init : "kmeans" | "random" | "subset" | array of int, shape (n_samples,) | HMM
        Where to start: clusters of the logarithm of smoothed power; random state time
        courses drawn from the initial transition matrix; the same on a random subset of the
        data for each start; a state for every prepared sample of all recordings; or another
        model with the same features.
    n_init : int
        Number of starts. Each is trained briefly on a part of the data, and the one with the
        lowest free energy goes on. Starts from given values are one.
    refine : bool
        Whether to search for the best optimum, so that results do not depend on the seed: one
        state is split and two are merged :footcite:`UedaEtAl2000`, in the best of all ways to do
        so, until that helps no more. Not done where ``init`` or initial values say where to
        start, where covariances or transitions are not learned, or where no state has samples
        enough for two.
    max_iter : int
        Largest number of updates of a run on all data.
    tol : float
        Training stops when an update lowers the free energy by less than this share of
        what all updates have lowered it by.
    priors : Priors | None
        Priors on the parameters, for small data. None is none.
    sequence_length : int | None
        Number of samples in a sequence of a mini-batch. None is 1000. Only with ``batch_size``.
    batch_size : int | None
        For very large data: train on mini-batches of so many sequences first
        :footcite:`CappeMoulines2009,HoffmanEtAl2013`, and on all data at once to finish. None
        uses all data at once from the beginning.
    strategy : tf.distribute.Strategy | None
        Who shares the work: ``tf.distribute.MirroredStrategy()`` for several devices, or
        `multi_worker_strategy` for several processes, each of which trains on its own
        recordings. None takes the strategy in scope, if there is one.
    checkpoint_dir : path-like | None
        Folder for checkpoints. If training is interrupted, the same call goes on where it
        stopped; a ``random_state`` that is a Generator has to be made anew for that. It is made
        if it does not exist. Start anew by deleting it.
    log_dir : path-like | None
        Folder for the course of training, to be watched in TensorBoard.
    on_interrupt : "raise" | "return"
        What Ctrl-C does. ``"return"`` ends training after the pass over the data that is under way,
        and gives the best model so far, with a warning and ``converged_`` False; a second Ctrl-C
        raises KeyboardInterrupt at once, and so does the first before there is any model. With
        ``checkpoint_dir`` the same call goes on later, as after any interruption. For training in
        one process.
    %(atlas)s
    %(group)s
    %(random_state)s
    %(n_jobs)s
    %(verbose)s

    Returns
    -------
    hmm : HMM
        The trained model. Unless ``init`` or initial values say which state is which, states
        are numbered by how much of the time they are on, the most frequent first.

    Raises
    ------
    ValueError
        If the data cannot be prepared (see `prepare`), if they are too few for the number
        of states, if an initial value has the wrong shape or is no distribution, or if
        ``checkpoint_dir`` holds a training of other data or with other arguments.
    TypeError
        If an argument is of the wrong type.
    OSError
        If ``checkpoint_dir`` or ``log_dir`` cannot be used: it is a file, lies in no folder,
        holds other files, cannot be written to, or is in use by another training.
    RuntimeError
        If another worker of the strategy is gone.

    See Also
    --------
    prepare : Preparation by itself.
    read_hmm : Reads a model that was saved.

    Notes
    -----
    The model is that of Vidaurre et al. :footcite:`VidaurreEtAl2016,VidaurreEtAl2018`,
    trained as by Baum et al. :footcite:`BaumEtAl1970`. Every good span is one Markov chain. Chains
    are cut only in mini-batches and in the part of the data that is searched for the best optimum;
    training on all data, in whole chains, follows both.

    In a group, states easily become recordings. A warning tells where recording explains more than
    half of the variance of state occupancy, or a state has more than 90 percent of its samples in
    one of three recordings or more (`compute_recording_dependence`). Aligning the recordings helps,
    as in ``preparation=Preparation(align="euclidean")``.

    References
    ----------
    .. footbibliography::

    Examples
    --------
    >>> import mne_hmm
    >>> raw, truth = mne_hmm.simulate_raw(
    ...     n_states=2, n_channels=6, duration=20., random_state=0
    ... )
    >>> preparation = mne_hmm.Preparation(n_components=10)
    >>> hmm = mne_hmm.fit_hmm(
    ...     raw, n_states=2, preparation=preparation, random_state=0, verbose=False
    ... )
    >>> raw = raw.set_annotations(raw.annotations + hmm.annotations_[0])
    >>> sorted(set(raw.annotations.description.tolist()))
    ['hmm/state_0', 'hmm/state_1']
    """
    n_states = check_number(n_states, "n_states", rule="a whole number ≥ 2", low=2, integer=True)
    n_init = check_number(n_init, "n_init", rule="a whole number ≥ 1", low=1, integer=True)
    max_iter = check_number(max_iter, "max_iter", rule="a whole number ≥ 1", low=1, integer=True)
    tol = check_number(tol, "tol", rule="a number ≥ 0", low=0)
    check_option(learn_means, "learn_means", ("auto", True, False))
    check_option(learn_covariances, "learn_covariances", (True, False))
    check_option(refine, "refine", (True, False))
    check_option(learn_transitions, "learn_transitions", (True, False))
    check_option(covariance_type, "covariance_type", ("full", "diag"))
    check_option(on_interrupt, "on_interrupt", ("raise", "return"))
    if priors is not None and not isinstance(priors, Priors):
        raise TypeError(
            f'priors must be Priors or None, as in Priors(covariances="auto"), got {priors!r}'
        )
    batches = _check_batches(batch_size, sequence_length)
    checkpoint_dir = check_folder(checkpoint_dir, "checkpoint_dir")
    log_dir = check_folder(log_dir, "log_dir")
    rng = check_random_state(random_state)

    # TensorFlow takes seconds to load: unless it is needed for that, what is wrong with the data
    # is said before.
    workers = None if strategy is None else _workers(strategy)
    arguments = AtlasArguments(atlas, src, subjects_dir)
    prepared = prepared_of(
        inst, preparation, picks, reject_by_annotation, sfreq, arguments, n_jobs, group
    )

    from ..engine import (
        GivenParameters,
        Interrupt,
        Journal,
        Log,
        NoJournal,
        NoLog,
        Plan,
        Prior,
        Samples,
        UpdateRule,
        train,
        training_facts,
    )

    workers = workers or _workers(None)
    if workers.size > 1 and on_interrupt != "raise":
        raise ValueError(
            'on_interrupt="return" is for training in one process, but the strategy has '
            f"{workers.size} workers; leave it out, and give a checkpoint_dir to go on later"
        )
    if learn_means == "auto":
        learn_means = prepared.preparation.n_embeddings == 1
    learned = Learned(bool(learn_means), learn_covariances, learn_transitions, covariance_type)
    check_enough_data(prepared, n_states, learned)
    given = _check_given(
        n_states,
        prepared.n_features,
        initial_probs=initial_probs,
        transition_matrix=initial_transition_matrix,
        means=initial_means,
        covariances=initial_covariances,
    )
    strengths = (priors or Priors()).strengths(prepared.n_features, prepared.sfreq)
    plan = Plan(
        n_states,
        UpdateRule(learned.means, learn_covariances, learn_transitions, covariance_type),
        init=_check_init(init, prepared, n_states),
        n_init=n_init,
        given=GivenParameters(**given),
        refine=refine,
        prior=Prior(**strengths),
        max_iter=max_iter,
        tol=tol,
        batches=batches,
    )
    samples = Samples(prepared.data, [chain_lengths(one) for one in prepared.time_maps])
    journal: Any = NoJournal()
    with checkpoints_held(checkpoint_dir if workers.is_chief else None):
        if checkpoint_dir is not None and workers.is_chief:
            seed = random_state
            if isinstance(random_state, np.random.Generator):
                # All randomness comes from its children, which depend on nothing else.
                seed = random_state.bit_generator.seed_seq.state  # type: ignore[attr-defined]
            journal = Journal(checkpoint_dir, training_facts(samples, plan, repr(seed)))
        log = NoLog() if log_dir is None or not workers.is_chief else Log(log_dir)
        interrupt = Interrupt(on_interrupt == "return")
        with interrupt, Progress(log, silent=not workers.is_chief) as progress:
            training = train(
                samples,
                plan,
                rng=rng,
                workers=workers,
                journal=journal,
                report=progress,
                interrupt=interrupt,
            )
    if workers.is_chief:
        _tell(training, prepared, n_states, max_iter)
    hmm = HMM(
        *training.parameters,
        preparation=prepared.preparation,
        learned=learned,
        history={
            "free_energy": np.array(training.free_energy),
            "seconds": np.array(training.seconds),
            "starts": training.starts,
            "moves": training.moves,
            "batches": np.array(training.batches),
            "n_passes": training.n_passes,
        },
        free_energy=training.free_energy[-1],
        converged=training.converged,
        random_state=None if isinstance(random_state, np.random.Generator) else random_state,
        versions=software_versions(),
        alignments=prepared.alignments,
    )
    hmm.atlas_arguments = arguments
    labels = _labels_of(prepared, samples, training.parameters, learned, workers)
    hmm.annotations_ = _annotate(prepared, labels, n_states, workers)
    dependence = dependence_of(
        [count_blocks(one, n_states) for one in labels], hmm.state_names, prepared.names
    )
    hmm.explained_by_recording_ = dependence.explained
    if dependence.are_recordings and workers.is_chief:
        warn(dependence.advice(prepared.preparation.align))
    workers.barrier()  # nobody leaves before the last has all sums
    return hmm


def _workers(strategy):
    """Who shares the work: by a strategy, or by the one in scope."""
    from ..engine import Workers

    return Workers.of(strategy)


def _check_batches(batch_size, sequence_length):
    """Sizes of mini-batches, as the engine takes them."""
    if batch_size is None:
        if sequence_length is not None:
            raise ValueError(
                f"sequence_length={sequence_length} is for training on mini-batches only; give a "
                "batch_size with it, or leave it out: chains are never cut otherwise"
            )
        return None
    from ..engine import MiniBatches

    rule = "None or a whole number ≥ 1"
    batch_size = check_number(batch_size, "batch_size", rule=rule, low=1, integer=True)
    if sequence_length is None:
        sequence_length = SEQUENCE_LENGTH
    rule = "None or a whole number ≥ 2"
    return MiniBatches(
        batch_size, check_number(sequence_length, "sequence_length", rule=rule, low=2, integer=True)
    )


def prepared_of(
    inst, preparation, picks, reject_by_annotation, sfreq, arguments, n_jobs, group=None
) -> PreparedData:
    """Prepare recordings, or take what is prepared already."""
    prepared = as_prepared(inst)
    if prepared is None:
        return prepare(
            inst,
            preparation,
            picks=picks,
            reject_by_annotation=reject_by_annotation,
            sfreq=sfreq,
            group=group,
            **arguments._asdict(),
            n_jobs=n_jobs,
        )
    others = {"preparation": preparation, "picks": picks, "sfreq": sfreq, "group": group}
    for name, value in (others | arguments._asdict()).items():
        if value is not None:
            raise ValueError(
                f"{name} cannot be given with PreparedData, which are prepared already; give it "
                "to prepare(...)"
            )
    return prepared


def check_enough_data(prepared: PreparedData, n_states: int, learned: Learned) -> None:
    """Check that there are no more free parameters than values."""
    d = prepared.n_features
    per_state = (d if learned.means else 0) + (
        (d * (d + 1) // 2 if learned.covariance_type == "full" else d) if learned.covariances else 0
    )

    def n_free(k):
        return k * per_state + ((k - 1) * (k + 1) if learned.transitions else 0)

    n_values = prepared.n_samples * d
    if n_free(n_states) <= n_values:
        return
    # The numbers grow with k, and reach n_values before k does.
    fitting = bisect_right(range(min(n_states, n_values + 2)), n_values, key=n_free) - 1
    ways = "" if fitting < 2 else f"use n_states≤{fitting}, "
    raise ValueError(
        f"n_states={n_states} has {n_free(n_states):,} free parameters, but the data are only "
        f"{prepared.n_samples:,} samples × {d} features = {n_values:,} values; {ways}fewer "
        'features (Preparation(n_components=...)), covariance_type="diag", or more data'
    )


def _check_given(n_states, n_features, **given):
    """Get initial values as float64 arrays of the right shape."""
    shapes = {
        "initial_probs": (n_states,),
        "transition_matrix": (n_states, n_states),
        "means": (n_states, n_features),
        "covariances": (n_states, n_features, n_features),
    }
    out = {}
    for name, value in given.items():
        if value is None:
            continue
        argument = name if name.startswith("initial") else f"initial_{name}"
        value = np.array(value, float)
        if value.shape != shapes[name]:
            raise ValueError(f"{argument} must have shape {shapes[name]}, got {value.shape}")
        if not np.isfinite(value).all():
            raise ValueError(f"{argument} must hold finite numbers only")
        if name in ("initial_probs", "transition_matrix"):
            sums = value.sum(-1)
            if (value < 0).any() or not np.allclose(sums, 1, rtol=0, atol=1e-6):
                raise ValueError(
                    f"{argument} must hold probabilities that sum to 1 (per row), got sums of "
                    f"{listed(np.round(np.atleast_1d(sums), 6))}"
                )
            value = value / sums[..., None]
        if name == "covariances":
            _check_covariances(value, argument)
        out[name] = value
    return out


def _check_covariances(covariances, argument):
    for state, covariance in enumerate(covariances):
        symmetric = np.allclose(covariance, covariance.T, rtol=1e-6, atol=0)
        if not symmetric or np.linalg.eigvalsh(covariance)[0] <= 0:
            raise ValueError(
                f"{argument} must be symmetric and positive definite, but that of state {state} "
                "is not; add a little to its diagonal"
            )


def _check_init(init, prepared, n_states):
    """Where to start, as the engine takes it."""
    if isinstance(init, HMM):
        from ..engine import Parameters

        if (init.n_states, init.n_features) != (n_states, prepared.n_features):
            raise ValueError(
                f"init is a model of {init.n_states} states and {init.n_features} features, but "
                f"{n_states} states and {prepared.n_features} features are needed here"
            )
        return Parameters(
            init.initial_probs_, init.transition_matrix_, init.means_, init.covariances_
        )
    if isinstance(init, str):
        return check_option(init, "init", ("kmeans", "random", "subset"))
    labels = np.asarray(init)
    if labels.shape != (prepared.n_samples,) or labels.dtype.kind not in "iu":
        raise ValueError(
            'init must be "kmeans", "random", "subset", a model, or a whole number for each of '
            f"the {prepared.n_samples:,} prepared samples, got {labels.dtype} of shape "
            f"{labels.shape}"
        )
    if labels.min() < 0 or labels.max() >= n_states:
        raise ValueError(
            f"init must hold states from 0 to {n_states - 1}, got {labels.min()} to {labels.max()}"
        )
    return labels


def _tell(training, prepared, n_states, max_iter):
    """Say what there is to say about how training went."""
    last = training.free_energy[-1]
    n_updates = len(training.free_energy) - 1
    logger.info(
        f"Free energy {last:.4f} nats per sample after {plural(n_updates, 'update')} "
        f"({plural(round(training.n_passes), 'pass', 'es')} over the data in all)"
    )
    if training.rise > 0:
        warn(
            f"The free energy rose by {training.rise:.2e} nats per sample in an update, which "
            "exact training never does; please report this"
        )
    if training.interrupted:
        warn(
            f"Training was interrupted after {plural(n_updates, 'update')} on all data; this is "
            "the best model so far, which has not converged. fit_hmm(..., init=hmm) goes on"
        )
    elif not training.converged:
        warn(f"Training had not settled after max_iter={max_iter} updates; raise max_iter, or tol")
    if training.lost:
        names = default_state_names(n_states)
        warn(
            f"{listed(names[k] for k in training.lost)} lost all samples and kept the last "
            f"parameters; {n_states - len(training.lost)} states describe these data"
        )
    complete = prepared.preparation.rank_ == len(prepared.preparation.ch_names_)
    if training.rank < prepared.n_features and complete:
        warn(
            f"The {prepared.n_features} features have rank {training.rank}. Training leaves out "
            "the directions in which they do not vary."
        )


def _labels_of(prepared, samples, parameters, learned, workers):
    """Most probable state of each sample of every recording, from each worker's own."""
    from ..engine import Samples, infer

    # All wait here until the last recording is done, so each label takes as little as it can.
    n_states = len(parameters.initial_probs)
    kind = np.min_scalar_type(n_states - 1)
    own = {}
    for number, array in samples.stream(workers.share(samples.sizes)):
        result = infer(
            Samples([array], [samples.lengths[number]]),
            parameters,
            covariance_type=learned.covariance_type,
        )
        own[number] = result.probabilities.argmax(1).astype(kind)
    out = []
    for number, time_map in enumerate(prepared.time_maps):
        labels = own.pop(number, None)
        if labels is None:
            labels = np.zeros(time_map.n_rows, kind)
        if workers.size > 1:
            (labels,) = workers.total([labels])
        out.append(labels.astype(kind))
    return out


def _annotate(prepared, labels, n_states, workers):
    """Annotations of every recording."""
    names = default_state_names(n_states)
    out, overlapping = [], []
    for number, time_map in enumerate(prepared.time_maps):
        if time_map.timeline.overlap(time_map.modeled()):
            overlapping.append(prepared.names[number])
            out.append(mne.Annotations([], [], [], orig_time=time_map.timeline.meas_date))
            continue
        out.append(
            StateTimeCourse.from_labels(
                labels[number].astype(int), time_map, names
            ).to_annotations()
        )
    if overlapping and workers.is_chief:
        warn(
            "Epochs overlap in the recording they were cut out of, by the samples of their events "
            f"(in arrays these may be made up), so annotations_ are left empty for "
            f"{listed(overlapping, 4)}; hmm.predict gives states with an axis for the epochs"
        )
    return out
