"""Training: coordinates, several starts on a part of the data, the best run to the end."""

from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial

import numpy as np

from .candidates import find_candidates
from .checkpoint import Journal, NoJournal
from .coordinates import Coordinates
from .distribute import ALONE, Workers
from .em import LOST, Run, converge, rises
from .gaussian import Parameters, reordered
from .interrupt import Interrupt, InterruptedEarlyError
from .memory import give_back_freed
from .plan import GivenParameters, Plan
from .samples import Samples
from .start import parameters_from_labels, pooled_parameters
from .steps import Report, SharedJournal, run_from, to_content
from .stochastic import train_on_batches

# A model that was second best on a part of the data is given up where it would not get ahead
# of the best if this many more updates gained as much as the last of these.
N_PROMISING = 5
HOPE = 20


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
    interrupt : Interrupt | None
        Who may ask for the best model so far.

    Returns
    -------
    training : Training
        Parameters and history.
    """
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

    def train(self, rng):
        plan, starts, moves = self.plan, [], []
        rngs = rng.spawn(3)  # for starts, for splits, for mini-batches
        candidates: list[Run] = []
        if plan.searching:
            with suppress(InterruptedEarlyError):
                found = find_candidates(
                    self.samples,
                    plan,
                    self.coordinates,
                    rngs=rngs[:2],
                    workers=self.workers,
                    journal=self.journal,
                    tell=self._tell,
                    interrupt=self.interrupt,
                )
                candidates, starts, moves = self._agreed(found.runs), found.starts, found.moves
                self.n_passes += found.n_passes
            give_back_freed()
        # Not before: the search has a part of the data, and memory better used than by all.
        data = self.coordinates.apply(
            self.samples, plan.n_states * self.samples.n_features, self.workers
        )
        if not plan.searching:
            candidates = [Run(self._given_start(data))]
        batches: list[float] = []
        if candidates and plan.batches is not None:
            start, candidates = candidates[0].parameters, []
            with suppress(InterruptedEarlyError):
                parameters, batches = self._train_on_batches(data, start, rngs[2])
                candidates = [Run(parameters)]
        best = self._run("training", data, candidates[0]) if candidates else self._so_far(data)
        for number, candidate in enumerate(candidates[1:], 2):
            if self.interrupt.asked:
                self.interrupted = True
                break
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
            converged=best.converged and not self.interrupted,
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
            interrupted=self.interrupted,
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
            self.interrupt.offer(run, plan.n_states, anyway=goal is None)
            self.journal.update(name, newest)
            self._tell(name, run.n_updates, run.free_energy[-1], run.seconds[-1], plan.max_iter)
            self.interrupt.check(ended=run.converged)

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
        except InterruptedEarlyError:
            self.journal.update(name, newest, force=True)
            self.interrupted = True
        else:
            self.journal.finish(name, to_content(run))
        self.n_passes += len(run.free_energy)
        return run

    def _so_far(self, data):
        """Look once at all data with the best model of what comes before, which was cut short."""
        assert self.interrupt.best is not None
        self.interrupted = True
        self.n_passes += 1
        # Not in the journal: another model will be there when the same training goes on.
        start = Run(self.interrupt.best.parameters)
        plan = self.plan
        return converge(data, start, plan.rule, max_iter=0, tol=plan.tol, prior=plan.prior)

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
            interrupt=self.interrupt,
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
