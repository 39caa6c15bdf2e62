"""Training: coordinates, several starts on a part of the data, the best run to the end."""

import hashlib
from dataclasses import dataclass, field
from functools import partial

import numpy as np

from .checkpoint import Journal, NoJournal, content_hash
from .coordinates import Coordinates
from .distribute import ALONE, Workers
from .em import LOST, Run, UpdateRule, converge, rises
from .gaussian import Parameters, reordered
from .part import Part
from .prior import NO_PRIOR, Prior, sticky_chain
from .refine import Search, Way, n_states_to_begin_with, worth_a_run
from .samples import Data, Samples
from .start import (
    kmeans_labels,
    parameters_from_labels,
    pooled_parameters,
    random_labels,
)
from .steps import Report, SharedJournal, run_from, to_content
from .stochastic import MiniBatches, train_on_batches

# Updates each start gets before the best is chosen.
BRIEF = 8

# A model that was second best on a part of the data is given up where it would not get ahead
# of the best if this many more updates gained as much as the last of these.
N_PROMISING = 5
HOPE = 20

KMEANS, RANDOM, SUBSET = "kmeans", "random", "subset"

# The stage in which runs of EM on a part of the data are counted, not passes.
SEARCH = "search"


@dataclass(frozen=True)
class GivenParameters:
    """Initial values the user fixes, in features; None where training finds its own."""

    initial_probs: np.ndarray | None = None
    transition_matrix: np.ndarray | None = None
    means: np.ndarray | None = None
    covariances: np.ndarray | None = None

    @property
    def all_emissions(self) -> bool:
        """Whether nothing about the emissions is left to find."""
        return self.means is not None and self.covariances is not None

    @property
    def some(self) -> bool:
        """Whether anything is given."""
        return any(value is not None for value in vars(self).values())

    def inside(self, coordinates: Coordinates) -> dict[str, np.ndarray]:
        """Those that are given, in the engine's coordinates."""
        values = {name: value for name, value in vars(self).items() if value is not None}
        if self.means is not None:
            values["means"] = coordinates.means_in(self.means)
        if self.covariances is not None:
            values["covariances"] = coordinates.covariances_in(self.covariances)
        return values


@dataclass(frozen=True)
class Plan:
    """How to train.

    Parameters
    ----------
    n_states : int
        Number of states.
    rule : UpdateRule
        What to learn.
    init : "kmeans" | "random" | "subset" | array of int, shape (n_samples,) | Parameters
        Where to start: clusters of smoothed power, random state time courses, the same on a
        random half of the windows, a given assignment of samples to states, or given
        parameters.
    n_init : int
        Number of starts, each run briefly; the best goes on.
    given : GivenParameters
        Initial values that replace those the start finds.
    refine : bool
        Whether to begin with too many states and merge them. Not done where the user says
        where to start or holds parameters fixed.
    prior : Prior
        What is believed of the parameters.
    max_iter : int
        Largest number of updates of a run on all data.
    tol : float
        Share of the whole decrease of the free energy below which a pass is the last.
    batches : MiniBatches | None
        How to train on mini-batches before all data are used at once; None for not at all.
    """

    n_states: int
    rule: UpdateRule
    init: str | np.ndarray | Parameters = KMEANS
    n_init: int = 3
    given: GivenParameters = field(default_factory=GivenParameters)
    refine: bool = False
    prior: Prior = NO_PRIOR
    max_iter: int = 100
    tol: float = 1e-4
    batches: MiniBatches | None = None

    @property
    def searching(self) -> bool:
        """Whether the start is left to training."""
        return isinstance(self.init, str) and not self.given.all_emissions

    @property
    def refining(self) -> bool:
        """Whether states are merged and split."""
        learned = self.rule.learn_covariances and self.rule.learn_transitions
        return self.refine and self.searching and learned and not self.given.some


@dataclass
class Training:
    """What training came to."""

    parameters: Parameters
    """In features."""
    free_energy: list[float]
    """Of the kept run on all data, nats per sample, before the first update and after each."""
    seconds: list[float]
    converged: bool
    starts: list[dict] = field(default_factory=list)
    """For every start what it was, its course and whether it was the best."""
    moves: list[dict] = field(default_factory=list)
    """Every merge that was tried, and every model but the first that was run on all data."""
    batches: list[float] = field(default_factory=list)
    """Free energy after every mini-batch, on that mini-batch alone."""
    lost: list[int] = field(default_factory=list)
    """States without samples."""
    rise: float = 0.0
    """Largest rise of the free energy beyond rounding: a bug unless 0."""
    n_passes: float = 0
    """Passes over the data; passes over a part count in parts."""
    rank: int = 0
    """Number of directions in which the data vary."""


def train(
    samples: Samples,
    plan: Plan,
    *,
    rng: np.random.Generator,
    workers: Workers = ALONE,
    journal: Journal | NoJournal | None = None,
    report: Report | None = None,
) -> Training:
    """Train a hidden Markov model with Gaussian states.

    Parameters
    ----------
    samples : Samples
        The data of all workers.
    plan : Plan
        How to train.
    rng : numpy.random.Generator
        Source of all randomness.
    workers : Workers
        Who shares the work.
    journal : Journal | None
        Where steps that are done are remembered.
    report : callable | None
        Called after every pass over all data with the name of the stage, the number of
        updates, the free energy, the seconds it took and the largest number of updates; and
        after every run of EM on a part of the data, with the number of runs.

    Returns
    -------
    training : Training
        Parameters and history.
    """
    return _Trainer(samples, plan, workers, journal or NoJournal(), report).train(rng)


class _Trainer:
    def __init__(self, samples, plan, workers, journal, report):
        self.samples, self.plan, self.workers = samples, plan, workers
        self.journal, self.report = SharedJournal(journal, workers), report
        rule = plan.rule
        # Given densities are taken as they are.
        as_given = plan.given.covariances is not None and not rule.learn_covariances
        self.coordinates = (
            Coordinates.identity(samples.n_features)
            if as_given
            else Coordinates.whitening(
                samples,
                centered=rule.learn_means,
                covariance_type=rule.covariance_type,
                workers=workers,
            )
        )
        # Densities of features differ from those of the engine's coordinates by a constant.
        self.volume = self.coordinates.log_volume
        self.n_passes = 0.0

    def train(self, rng):
        plan, starts, moves = self.plan, [], []
        rngs = rng.spawn(3)  # for starts, for splits, for mini-batches
        candidates: list[Run] = []
        if plan.searching:
            candidates, starts, moves = self._search(*rngs[:2])
        # Not before: the search has a part of the data, and memory better used than by all.
        data = self.coordinates.apply(
            self.samples, plan.n_states * self.samples.n_features, self.workers
        )
        if not plan.searching:
            candidates = [Run(self._given_start(data))]
        batches: list[float] = []
        if plan.batches is not None:
            candidates = candidates[:1]
            parameters, batches = self._train_on_batches(data, candidates[0].parameters, rngs[2])
            candidates[0] = Run(parameters)
        best = self._run("training", data, candidates[0])
        for number, candidate in enumerate(candidates[1:], 2):
            run = self._run(f"training, model {number}", data, candidate, goal=best)
            better = run.free_energy[-1] < best.free_energy[-1]
            moves.append(
                {"all_data": True, "n_states": plan.n_states, "kept": better}
                | {"free_energy": run.free_energy[-1]}
            )
            best = run if better else best
        if not plan.searching:
            course = list(best.free_energy)
            starts = [
                {"init": "given", "n_states": plan.n_states, "free_energy": course, "kept": True}
            ]
        assert best.statistics is not None
        weights = best.statistics.moments.weights
        parameters = self.coordinates.parameters_out(best.parameters)
        if plan.searching and not plan.given.some:
            # The numbers of states found by a search say nothing: the most frequent comes first.
            order = np.argsort(-weights, kind="stable")
            weights, parameters = weights[order], reordered(parameters, order)
        return Training(
            parameters=parameters,
            free_energy=[value - self.volume for value in best.free_energy],
            seconds=best.seconds,
            converged=best.converged,
            starts=[
                start | {"free_energy": [value - self.volume for value in start["free_energy"]]}
                for start in starts
            ],
            moves=[move | {"free_energy": move["free_energy"] - self.volume} for move in moves],
            batches=[value - self.volume for value in batches],
            lost=np.flatnonzero(weights < LOST).tolist(),
            rise=rises(best.free_energy),
            n_passes=self.n_passes,
            rank=self.coordinates.rank,
        )

    # On all data

    def _run(self, name, data, run, goal=None):
        """Run EM on all data; give up where there is no hope to fall below a goal."""
        plan = self.plan
        done = self.journal.result(name)
        if done is not None:
            run = run_from(done)
            self.n_passes += len(run.free_energy)
            return run
        state = self.journal.state(name)
        run = run if state is None else run_from(state)

        newest: dict = {}  # of whole passes: an interrupt may come in the middle of one

        def watch(run):
            newest.update(to_content(run))
            self.journal.update(name, newest)
            self._tell(name, run.n_updates, run.free_energy[-1], run.seconds[-1], plan.max_iter)

        go = partial(converge, data, run, plan.rule, tol=plan.tol, prior=plan.prior, watch=watch)
        try:
            if goal is not None:
                self._while_there_is_hope(go, run, goal.free_energy[-1])
            else:
                go(max_iter=plan.max_iter)
        except KeyboardInterrupt:
            if newest:
                self.journal.update(name, newest, force=True)
            raise
        self.n_passes += len(run.free_energy)
        self.journal.finish(name, to_content(run))
        return run

    def _while_there_is_hope(self, go, run, goal):
        """Update as long as a run may still get below a goal."""
        most = self.plan.max_iter
        for updates in range(N_PROMISING, most + N_PROMISING, N_PROMISING):
            if updates < run.n_updates:  # a run that was resumed was judged there before
                continue
            go(max_iter=min(updates, most))
            gain = run.free_energy[-2] - run.free_energy[-1]
            if run.converged or run.free_energy[-1] - HOPE * gain > goal:
                return

    def _tell(self, name, count, free_energy, seconds, most):
        if self.report is not None:
            self.report(name, count, free_energy - self.volume, seconds, most)

    def _train_on_batches(self, data, parameters, rng):
        plan = self.plan
        trained = train_on_batches(
            data,
            parameters,
            plan.rule,
            plan.batches,
            rng=rng,
            prior=plan.prior,
            journal=self.journal,
            report=self._tell,
        )
        self.n_passes += trained.n_passes
        return trained.parameters, trained.free_energy

    def _given_start(self, data):
        plan = self.plan
        given = plan.given
        if isinstance(plan.init, Parameters):
            replaced = {name: value for name, value in vars(given).items() if value is not None}
            given = GivenParameters(**plan.init._replace(**replaced)._asdict())
        if given.all_emissions:
            start = pooled_parameters(plan.n_states, data.n_features)
        else:
            labels = self._own_labels(plan.init, data)
            start = parameters_from_labels(data, labels, plan.n_states, plan.rule, plan.prior)
        return start._replace(**given.inside(self.coordinates))

    def _own_labels(self, labels, data):
        """Labels of this worker's samples."""
        of_recordings = np.split(labels, np.cumsum(self.samples.sizes)[:-1])
        own = [of_recordings[number] for number in data.recordings]
        return np.concatenate(own) if own else np.zeros(0, int)

    # On a part of the data

    def _search(self, start_rng, split_rng):
        """Find the best few models on a part of the data, as runs to be begun on all data.

        What is best on a part need not be best on all data. So all data tell between the
        model that was searched for, others that come close, and the best start without a search.
        """
        plan = self.plan
        part = Part.of(self.samples, self.coordinates, plan.n_states, self.workers)
        count = 0

        def told(run):
            nonlocal count
            count += 1
            self._tell(SEARCH, count, run.free_energy[-1], sum(run.seconds), expected)

        n_states = plan.n_states
        if plan.refining:
            n_states = n_states_to_begin_with(part, n_states, plan.rule)
        way = Way.within_means(n_states, plan.n_states, plan.n_init, part.share)
        expected = plan.n_init + way.n_runs + (plan.n_init if plan.refining else 0)
        search = Search(part, way, plan.rule, plan.prior, told)
        part.data.n_slots = n_states

        def known(name, step):
            """Make a step, unless the journal has what it came to."""
            # Each worker finds its own way, and the chief's counts: it alone looks up steps.
            done = self.journal.of_chief.result(name)
            if done is None:
                before = search.n_passes
                runs, notes = step()
                content = {
                    "runs": [to_content(run) for run in runs],
                    "notes": notes,
                    "n_passes": search.n_passes - before,
                }
                self.journal.of_chief.finish(name, content)
                return runs, notes
            search.n_passes += done["n_passes"]
            return [run_from(run) for run in done["runs"]], done["notes"]

        plain, starts = self._starts(search, plan.n_states, start_rng, known)
        best = min(plain, key=lambda run: run.free_energy[-1])
        # What a start has gained counts when it is judged whether it has settled. A model that
        # was searched for has nothing but small gains left, and they matter.
        candidates = [Run(best.parameters, before=best.free_energy[0] - best.free_energy[-1])]
        moves: list[dict] = []
        if n_states > plan.n_states:
            runs, more = self._starts(search, n_states, start_rng, known)
            found = search.refine(runs, split_rng, known)
            searched = [Run(run.parameters) for run in worth_a_run(found.best)]
            candidates = [*searched, *candidates]
            starts, moves = starts + more, found.moves
        self.n_passes += search.n_passes
        return self._agreed(candidates), starts, moves

    def _starts(self, search, n_states, rng, known):
        """Begin several times with some number of states; the starts, and notes of them."""
        runs: list[Run] = []
        starts: list[dict] = []
        for attempt, child in enumerate(rng.spawn(self.plan.n_init)):
            step = partial(self._start, search, n_states, attempt, child)
            new, notes = known(f"start {attempt + 1}, {n_states} states", step)
            runs, starts = runs + new, starts + notes
        # One start on half of the part is not to be compared with another on the other half.
        if self.plan.init == SUBSET:
            step = partial(self._on_whole_part, search, runs)
            runs, _ = known(f"starts on all of the part, {n_states} states", step)
        best = min(runs, key=lambda run: run.free_energy[-1])
        for run, start in zip(runs, starts, strict=True):
            start["kept"] = run is best
        return runs, starts

    def _start(self, search, n_states, attempt, rng):
        """Begin on the part of the data, and run briefly."""
        plan, part = self.plan, search.part
        samples, data = part.samples, part.data
        if plan.init == SUBSET:
            # The windows are in the engine's coordinates already.
            samples = part.subset(rng)
            data = Data(samples, n_states * samples.n_features)
            data.n_slots = n_states
        if plan.init == KMEANS:
            labels = kmeans_labels(
                samples, n_states, rng, attempt=attempt, use_means=plan.rule.learn_means
            )
        else:
            transition = plan.given.transition_matrix
            if transition is None:
                transition = sticky_chain(n_states)[1]
            labels = random_labels(samples, transition, rng)
        start = parameters_from_labels(data, labels, n_states, plan.rule, plan.prior)
        start = start._replace(**plan.given.inside(self.coordinates))
        run = search.run(start, min(BRIEF, plan.max_iter), data)
        note = {"init": plan.init, "n_states": n_states, "free_energy": list(run.free_energy)}
        return [run], [note]

    @staticmethod
    def _on_whole_part(search, runs):
        return [search.run(run.parameters, 1) for run in runs], []

    def _agreed(self, candidates):
        """Take the chief's models, so that all workers go on with the same bits."""
        if self.workers.size == 1:
            return candidates
        chief = float(self.workers.is_chief)
        (n,) = self.workers.total([np.array([chief * len(candidates)])])
        candidates = (candidates * int(n[0]))[: int(n[0])]
        agreed = []
        for run in candidates:
            values = [*run.parameters, np.array([run.before])]
            *parameters, before = self.workers.total([chief * value for value in values])
            agreed.append(Run(Parameters(*parameters), before=float(before[0])))
        return agreed


def training_facts(
    samples: Samples, plan: Plan, seed: str
) -> dict[str, str | int | float | bool | None]:
    """Tell what must be the same for a training to be resumed.

    Parameters
    ----------
    samples : Samples
        The data.
    plan : Plan
        How to train.
    seed : str
        What all randomness comes from.

    Returns
    -------
    facts : dict
        Numbers and hashes by name.
    """
    digests = getattr(samples.arrays, "digests", None)
    if digests is None:
        data = content_hash(samples.arrays, samples.lengths)
    else:  # of a folder, whose index has them
        data = _hash([*digests, repr([list(lengths) for lengths in samples.lengths])])
    facts: dict[str, str | int | float | bool | None] = {"data": data, "n_states": plan.n_states}
    facts |= vars(plan.rule)
    if isinstance(plan.init, str):
        facts["init"] = plan.init
    else:
        arrays = [plan.init] if isinstance(plan.init, np.ndarray) else plan.init
        facts["init"] = _hash([np.asarray(array).tobytes().hex() for array in arrays])
    for name, value in vars(plan.given).items():
        if value is not None:
            facts[f"initial {name}"] = _hash([value.tobytes().hex()])
    facts |= {"n_init": plan.n_init, "refine": plan.refine, "max_iter": plan.max_iter}
    facts |= {"tol": plan.tol} | {f"prior of {k}": v for k, v in vars(plan.prior).items()}
    if plan.batches is not None:
        facts |= vars(plan.batches)
    return facts | {"random_state": seed}


def _hash(texts):
    return hashlib.sha256("\n".join(texts).encode()).hexdigest()
