"""One call from recordings to a trained model."""

from collections.abc import Hashable, Sequence
from typing import TYPE_CHECKING, Any

import mne
import numpy as np
from mne.utils import logger, verbose

from .._utils.checks import check_random_state, listed, plural
from .._utils.docs import fill_doc
from .._utils.locks import checkpoints_held
from .._utils.mne_private import warn
from .._utils.typing import RandomState
from ..io.parcel_inputs import AtlasArguments
from ..preparation.prepare import prepare
from ..preparation.prepared_data import PreparedData, as_prepared
from ..preparation.settings import Preparation
from ..states.time_course import StateTimeCourse
from ..statistics.recording_dependence import count_blocks, dependence_of
from .file import Learned, software_versions
from .fit_settings import FitSettings, check_enough_data, check_n_states
from .hmm import HMM, default_state_names
from .inference import engine_samples, infer_recording
from .priors import Priors
from .progress import Progress

if TYPE_CHECKING:
    import tensorflow as tf

    from ..engine import Parameters, Training, Workers


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
    learn_means: bool | str = FitSettings.learn_means,
    learn_covariances: bool = FitSettings.learn_covariances,
    learn_transitions: bool = FitSettings.learn_transitions,
    covariance_type: str = FitSettings.covariance_type,
    initial_means: np.ndarray | None = FitSettings.initial_means,
    initial_covariances: np.ndarray | None = FitSettings.initial_covariances,
    initial_transition_matrix: np.ndarray | None = FitSettings.initial_transition_matrix,
    initial_probs: np.ndarray | None = FitSettings.initial_probs,
    init: Any = FitSettings.init,
    n_init: int = FitSettings.n_init,
    refine: bool = FitSettings.refine,
    max_iter: int = FitSettings.max_iter,
    tol: float = FitSettings.tol,
    priors: Priors | None = FitSettings.priors,
    sequence_length: int | None = FitSettings.sequence_length,
    batch_size: int | None = FitSettings.batch_size,
    strategy: Any = FitSettings.strategy,
    checkpoint_dir: Any = FitSettings.checkpoint_dir,
    log_dir: Any = FitSettings.log_dir,
    on_interrupt: str = FitSettings.on_interrupt,
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
        Number of starts. With ``refine`` each is searched from until nothing gains anything more,
        and the last ones are left out once more than half of all have come to the best; how many
        there were and did so is told in ``history_["search"]``. Without, each is trained briefly
        on a part of the data. The one with the lowest free energy goes on. Starts from given
        values are one.
    refine : bool
        Whether to search for the best optimum, so that results depend little on the seed: one
        state is split and two are merged :footcite:`UedaEtAl2000`, in the best of many ways to do
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
    are cut only in mini-batches and in the windows that are searched for the best optimum;
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
    n_states = check_n_states(n_states)
    settings = FitSettings(
        learn_means=learn_means,
        learn_covariances=learn_covariances,
        learn_transitions=learn_transitions,
        covariance_type=covariance_type,
        initial_means=initial_means,
        initial_covariances=initial_covariances,
        initial_transition_matrix=initial_transition_matrix,
        initial_probs=initial_probs,
        init=init,
        n_init=n_init,
        refine=refine,
        max_iter=max_iter,
        tol=tol,
        priors=priors,
        sequence_length=sequence_length,
        batch_size=batch_size,
        strategy=strategy,
        checkpoint_dir=checkpoint_dir,
        log_dir=log_dir,
        on_interrupt=on_interrupt,
    )
    check_random_state(random_state)
    # TensorFlow takes seconds to load: unless it is needed for that, what is wrong with the data
    # is said before.
    workers = None if strategy is None else _workers_of(strategy)
    arguments = AtlasArguments(atlas, src, subjects_dir)
    prepared = prepared_of(
        inst, preparation, picks, reject_by_annotation, sfreq, arguments, n_jobs, group
    )
    return fit_prepared(prepared, n_states, settings, random_state, arguments, workers)


def fit_prepared(
    prepared: PreparedData,
    n_states: int,
    settings: FitSettings,
    random_state: RandomState = None,
    atlas_arguments: AtlasArguments | None = None,
    workers: "Workers | None" = None,
) -> HMM:
    """Train a model on data that are prepared, and annotate their states."""
    workers = workers or _workers_of(settings.strategy)
    if workers.size > 1 and settings.on_interrupt != "raise":
        raise ValueError(
            'on_interrupt="return" is for training in one process, but the strategy has '
            f"{workers.size} workers; leave it out, and give a checkpoint_dir to go on later"
        )
    learned = settings.learned(prepared)
    check_enough_data(prepared, n_states, learned)
    training = _train(prepared, n_states, settings, random_state, workers)
    if workers.is_chief:
        _report_training(training, prepared, n_states, settings.max_iter)
    names = default_state_names(n_states)
    labels = _labels_of(prepared, training.parameters, learned, workers)
    dependence = dependence_of(
        [count_blocks(states, n_states) for states in labels], names, prepared.names
    )
    hmm = HMM(
        *training.parameters,
        preparation=prepared.preparation,
        learned=learned,
        history={
            "free_energy": np.array(training.free_energy),
            "seconds": np.array(training.seconds),
            "starts": training.starts,
            "moves": training.moves,
            "search": training.search,
            "batches": np.array(training.batches),
            "n_passes": training.n_passes,
        },
        free_energy=training.free_energy[-1],
        converged=training.converged,
        annotations=_annotate(prepared, labels, names, workers),
        random_state=None if isinstance(random_state, np.random.Generator) else random_state,
        versions=software_versions(),
        alignments=prepared.alignments,
        explained_by_recording=dependence.explained,
        atlas_arguments=atlas_arguments,
    )
    if dependence.are_recordings and workers.is_chief:
        warn(dependence.advice(prepared.preparation.align))
    workers.barrier()  # nobody leaves before the last has all sums
    return hmm


def _workers_of(strategy: "tf.distribute.Strategy | None") -> "Workers":
    """Find who shares the work: by a strategy, or by the one in scope."""
    from ..engine import Workers

    return Workers.of(strategy)


def _train(
    prepared: PreparedData,
    n_states: int,
    settings: FitSettings,
    random_state: RandomState,
    workers: "Workers",
) -> "Training":
    """Train the parameters, with checkpoints, a log and a progress bar."""
    from ..engine import (
        Interrupt,
        Journal,
        Log,
        NoJournal,
        NoLog,
        TrainingMonitor,
        train,
        training_facts,
    )

    samples = engine_samples(prepared.data, prepared.time_maps)
    for_engine = settings.for_engine(prepared, n_states)
    folder = settings.checkpoint_folder if workers.is_chief else None
    journal: Journal | NoJournal = NoJournal()
    with checkpoints_held(folder):
        if folder is not None:
            seed = random_state
            if isinstance(random_state, np.random.Generator):
                # All randomness comes from its children, which depend on nothing else.
                seed = random_state.bit_generator.seed_seq.state  # type: ignore[attr-defined]
            journal = Journal(folder, training_facts(samples, for_engine, repr(seed)))
        log = Log(settings.log_dir) if settings.log_dir and workers.is_chief else NoLog()
        interrupt = Interrupt(settings.on_interrupt == "return")
        with interrupt, Progress(log, silent=not workers.is_chief) as progress:
            return train(
                samples,
                for_engine,
                rng=check_random_state(random_state),
                workers=workers,
                monitor=TrainingMonitor(
                    journal, report=progress, interrupt=interrupt, workers=workers
                ),
            )


def prepared_of(
    inst: Any,
    preparation: Preparation | None,
    picks: Any,
    reject_by_annotation: bool,
    sfreq: float | None,
    arguments: AtlasArguments,
    n_jobs: int | None,
    group: Sequence[Hashable] | None = None,
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


def _report_training(
    training: "Training", prepared: PreparedData, n_states: int, max_iter: int
) -> None:
    """Log how training went, and warn of what went wrong."""
    last = training.free_energy[-1]
    n_updates = len(training.free_energy) - 1
    logger.info(
        f"Free energy {last:.4f} nats per sample after {plural(n_updates, 'update')} "
        f"({plural(round(training.n_passes), 'pass', 'es')} over the data in all)"
    )
    search = training.search
    if search:
        logger.info(
            f"{search['n_same']} of {plural(search['n_starts'], 'start')} of the search came to "
            "the best optimum"
        )
    if not (search.get("complete", True) or training.interrupted):
        warn(
            "The search for the best optimum still gained when its passes were used up. Fit with "
            "other values of random_state, too, and keep the model of the lowest free_energy_"
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


def _labels_of(
    prepared: PreparedData, parameters: "Parameters", learned: Learned, workers: "Workers"
) -> list[np.ndarray]:
    """Most probable state of each sample of every recording; each worker infers its share."""
    samples = engine_samples(prepared.data, prepared.time_maps)
    # All wait here until the last recording is done, so each label takes as little as it can.
    dtype = np.min_scalar_type(len(parameters.initial_probs) - 1)
    share = {}
    for i_recording, features in samples.stream(workers.share(samples.sizes)):
        recording = engine_samples([features], [prepared.time_maps[i_recording]])
        (posterior,) = infer_recording([parameters], recording, learned.covariance_type)
        share[i_recording] = posterior.probabilities.argmax(1).astype(dtype)
    out = []
    for i_recording, time_map in enumerate(prepared.time_maps):
        labels = share.pop(i_recording, None)
        if labels is None:
            labels = np.zeros(time_map.n_rows, dtype)
        if workers.size > 1:
            (labels,) = workers.total([labels])
        out.append(labels.astype(dtype))
    return out


def _annotate(
    prepared: PreparedData,
    labels: list[np.ndarray],
    state_names: tuple[str, ...],
    workers: "Workers",
) -> list[mne.Annotations]:
    """Annotate the states of every recording; those whose epochs overlap have none."""
    out, overlapping = [], []
    for name, time_map, states in zip(prepared.names, prepared.time_maps, labels, strict=True):
        if time_map.timeline.overlap(time_map.modeled()):
            overlapping.append(name)
            out.append(mne.Annotations([], [], [], orig_time=time_map.timeline.meas_date))
            continue
        course = StateTimeCourse.from_labels(states.astype(int), time_map, state_names)
        out.append(course.to_annotations())
    if overlapping and workers.is_chief:
        warn(
            "Epochs overlap in the recording they were cut out of, by the samples of their events "
            f"(in arrays these may be made up), so annotations_ are left empty for "
            f"{listed(overlapping, 4)}; hmm.predict gives states with an axis for the epochs"
        )
    return out
