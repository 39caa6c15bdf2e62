"""Training: several starts on a part of the data, moves out of local optima, and EM to the end."""

from dataclasses import dataclass, field
from functools import partial

import numpy as np

from ..inference.gaussian import Parameters, reordered
from ..inference.samples import Samples
from ..runtime.checkpoint import Journal, NoJournal
from ..runtime.memory import give_back_freed
from ..runtime.workers import ALONE, Workers
from .em import LOST, Run, converge, rises
from .initialization import parameters_from_labels, pooled_parameters
from .interrupt import ON_ALL, ON_PART, Interrupt, InterruptedEarlyError
from .mini_batches import train_on_batches
from .run_state import Report, SharedJournal, run_from, to_content
from .search import Candidates
from .settings import MOST_PASSES, GivenParameters, Plan
from .split_merge import N_TRIED
from .whitening import Coordinates

# Moves are proposed once an update gains less than so many nats per sample, or after so many.
SETTLED, MOST_BEFORE = 1e-3, 15
# A move that was tried on all data is judged after so many updates. It gets more as long as it may
# come below the present model: if this many more updates gained as much as the last of these.
LEAST_TRIED, MOST_TRIED = 6, 14
HOPE = 8
# Nats per sample by which a move must lower the free energy to be made, and by which it must have
# done so before the next is looked for.
LEAST_GAIN, WORTH_WHILE = 1e-3, 2e-3
# Passes after which no more moves are tried where the best few were of no use.
ENOUGH_PASSES = 150
# Rounds at most; two to five are needed.
MOST_ROUNDS = 10


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
    """Every move that was tried on the part of the data, and every one that was on all of them."""
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
    interrupted: bool = False
    """Whether the user asked for the best model so far."""


def train(
    samples: Samples,
    plan: Plan,
    *,
    rng: np.random.Generator,
    workers: Workers = ALONE,
    journal: Journal | NoJournal | None = None,
    report: Report | None = None,
    interrupt: Interrupt | None = None,
) -> Training:
    """Train a hidden Markov model with Gaussian states."""
    trainer = _Trainer(
        samples, plan, workers, journal or NoJournal(), report, interrupt or Interrupt()
    )
    training = trainer.train(rng)
    give_back_freed()
    return training


class _Trainer:
    def __init__(self, samples, plan, workers, journal, report, interrupt):
        self.interrupt, self.interrupted = interrupt, False
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
        self.candidates: Candidates | None = None
        self.starts: list[dict] = []
        self.moves: list[dict] = []
        self.batches: list[float] = []

    def train(self, rng):
        plan = self.plan
        try:
            best = self._trained(rng)
        except InterruptedEarlyError:
            best = self._so_far()
        starts = self.starts
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
            converged=best.converged and not self.interrupted,
            starts=[
                start | {"free_energy": [value - self.volume for value in start["free_energy"]]}
                for start in starts
            ],
            moves=[
                move | {"free_energy": move["free_energy"] - self.volume} for move in self.moves
            ],
            batches=[value - self.volume for value in self.batches],
            lost=np.flatnonzero(weights < LOST).tolist(),
            rise=rises(best.free_energy),
            n_passes=self._all_passes,
            rank=self.coordinates.rank,
            interrupted=self.interrupted,
        )

    def _trained(self, rng):
        """Start, make moves, and run EM to the end."""
        plan = self.plan
        rngs = rng.spawn(3)  # for starts, for splits, for mini-batches
        run = None
        if plan.searching:
            self.candidates = Candidates(
                self.samples,
                plan,
                self.coordinates,
                workers=self.workers,
                journal=self.journal,
                tell=self._tell,
                interrupt=self.interrupt,
            )
            run, self.starts = self.candidates.begin(rngs[0])
        # Not before: starts have a part of the data, and memory better used than by all.
        data = self._all_data()
        if run is None:
            run = Run(self._given_start(data))
        if plan.batches is not None:
            if self.candidates is not None and plan.refining:
                # What is known of all data is as little as the part says.
                run = self._refined(self.candidates.part.data, run, rngs[1])
                run = run_from(self.journal.agree(to_content(run)))
            run = Run(self._train_on_batches(data, run.parameters, rngs[2]))
        elif plan.refining:
            run = self._refined(data, run, rngs[1])
        return self._run("training", data, run)

    def _all_data(self):
        n_columns = self.plan.n_states * self.samples.n_features
        return self.coordinates.apply(self.samples, n_columns, self.workers)

    def _so_far(self):
        """Take the best model so far, and look once at all data with it if nobody has."""
        best, self.interrupted = self.interrupt.best, True
        assert best is not None
        if self.interrupt.level == ON_ALL:
            return best
        # Not in the journal: another model will be there when the same training goes on.
        rule, prior = self.plan.rule, self.plan.prior
        run = Run(best.parameters)
        converge(self._all_data(), run, rule, max_iter=0, tol=self.plan.tol, prior=prior)
        self.n_passes += run.n_passes
        return run

    def _refined(self, data, run, rng):
        """Make moves as long as they lower the free energy."""
        assert self.candidates is not None
        goal, before = np.inf, 0.0
        for number, child in enumerate(rng.spawn(MOST_ROUNDS), 1):
            run = self._run(f"search, round {number}", data, run, enough=_is_near)
            # Another round costs about as much as the last.
            cost, before = self._all_passes - before, self._all_passes
            gain, goal = goal - run.free_energy[-1], run.free_energy[-1]
            if gain < WORTH_WHILE or self._all_passes + cost > MOST_PASSES:
                break
            give_back_freed()  # what compiling took
            proposed = self.candidates.propose(run, number, child)
            give_back_freed()
            tried = self._tried_on_all(data, proposed.runs, number, goal)
            forth = [move for move in proposed.moves if not move["leads_back"]][: len(tried)]
            self.moves += [move | {"kept": move in forth} for move in proposed.moves]
            if not tried:
                break
            best = min(tried, key=lambda run: run.free_energy[-1])
            better = best.free_energy[-1] < goal - LEAST_GAIN
            self.moves += [
                {name: move[name] for name in ("round", "n_states", "split", "merged")}
                | {"all_data": True, "free_energy": one.free_energy[-1]}
                | {"kept": better and one is best}
                for move, one in zip(forth, tried, strict=True)
            ]
            if not better:
                break
            run = best
        return run

    def _tried_on_all(self, data, runs, number, goal):
        """Try moves on all data: a few, and more if these were of no use and passes are left."""
        tried: list[Run] = []
        for first in range(0, len(runs), N_TRIED):
            if first and self._all_passes > ENOUGH_PASSES:
                break
            tried += [
                self._run(
                    f"search, round {number}, move {place}", data, start, partial(_is_judged, goal)
                )
                for place, start in enumerate(runs[first : first + N_TRIED], first + 1)
            ]
            if min(run.free_energy[-1] for run in tried) < goal - WORTH_WHILE:
                break
        return tried

    @property
    def _all_passes(self):
        return self.n_passes + (0 if self.candidates is None else self.candidates.n_passes)

    def _run(self, name, data, run, enough=None):
        """Run EM, remembering where it is."""
        plan, begun = self.plan, run.n_passes
        on_all = data.samples is self.samples
        share = data.n_samples / self.samples.n_samples
        done = self.journal.result(name)
        if done is not None:
            run = run_from(done)
            self.n_passes += share * (run.n_passes - begun)
            return run
        state = self.journal.state(name)
        run = run if state is None else run_from(state)

        newest: dict = {}  # of whole passes: an interrupt may come in the middle of one

        def watch(run):
            newest.update(to_content(run))
            self.interrupt.offer(run, ON_ALL if on_all else ON_PART)
            self.journal.update(name, newest)
            most = plan.max_iter if enough is None else MOST_PASSES
            self._tell(name, run.n_updates, run.free_energy[-1], run.seconds[-1], most)
            self.interrupt.check(ended=enough is None and run.converged)

        try:
            converge(
                data,
                run,
                plan.rule,
                max_iter=plan.max_iter,
                tol=plan.tol,
                prior=plan.prior,
                enough=enough,
                watch=watch,
            )
        except KeyboardInterrupt:
            if newest:
                self.journal.update(name, newest, force=True)
            raise
        except InterruptedEarlyError:
            self.journal.update(name, newest, force=True)
            self.n_passes += share * (run.n_passes - begun)
            raise
        self.n_passes += share * (run.n_passes - begun)
        self.journal.finish(name, to_content(run))
        return run

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
            interrupt=self.interrupt,
        )
        self.n_passes += trained.n_passes
        self.batches = trained.free_energy
        return trained.parameters

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


def _is_near(run):
    """Whether a run is near enough to its optimum for moves out of it."""
    course = run.free_energy
    return len(course) > 1 and (course[-2] - course[-1] < SETTLED or run.n_updates >= MOST_BEFORE)


def _is_judged(goal, run):
    """Whether a run has come below a goal, or has no hope to."""
    if run.n_updates < LEAST_TRIED:
        return False
    *_, before, last = run.free_energy
    wanted = goal - LEAST_GAIN
    return last < wanted or run.n_updates >= MOST_TRIED or last - HOPE * (before - last) > wanted
