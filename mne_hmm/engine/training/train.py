"""Training: several starts, moves out of local optima, and EM to the end."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np

from ..inference.gaussian import Parameters, reordered
from ..inference.samples import Data, Samples
from ..runtime.memory import give_back_freed
from ..runtime.workers import ALONE, Workers
from .em import MIN_STATE_WEIGHT, EMRun, converge, largest_rise
from .initialization import parameters_from_labels, pooled_parameters
from .interrupt import ON_ALL, ON_SUBSAMPLE, InterruptedEarlyError
from .mini_batches import MiniBatches, train_on_batches
from .monitor import RunMonitor, TrainingMonitor
from .search import BriefStarts, OptimumSearch, Start
from .settings import MAX_PASSES, InitialParameters, TrainingSettings
from .whitening import Whitening

# Moves are proposed once an update gains less than so many nats per sample, or after so many.
SETTLED_DECREASE, MAX_UPDATES_BEFORE_MOVES = 1e-3, 15
# A move that was tried on all data is judged after so many updates. It gets more as long as it may
# come below the present model: if this many more updates gained as much as the last of these.
MIN_TRIAL_UPDATES, MAX_TRIAL_UPDATES = 6, 14
N_HOPED_UPDATES = 8
# Nats per sample by which a move must lower the free energy to be made, and by which it must have
# done so before the next is looked for.
MIN_GAIN, MIN_GAIN_TO_GO_ON = 1e-3, 2e-3
# Rounds at most; one to three are needed.
MAX_ROUNDS = 10


@dataclass
class Training:
    """The result of training: parameters, histories and costs."""

    parameters: Parameters
    """In features."""
    free_energy: list[float]
    """Of the kept run on all data, nats per sample, before the first update and after each."""
    seconds: list[float]
    converged: bool
    starts: list[dict[str, Any]] = field(default_factory=list)
    """For every start what it was, its history and whether it was the best."""
    moves: list[dict[str, Any]] = field(default_factory=list)
    """Every move that was followed to its end on windows, and every model tried on all data."""
    search: dict[str, Any] = field(default_factory=dict)
    """How sure the search for the best optimum is; empty where there was none."""
    batches: list[float] = field(default_factory=list)
    """Free energy after every mini-batch, on that mini-batch alone."""
    lost: list[int] = field(default_factory=list)
    """States without samples."""
    rise: float = 0.0
    """Largest rise of the free energy beyond rounding: a bug unless 0."""
    n_passes: float = 0
    """Passes over the data; passes over a subsample count in parts."""
    rank: int = 0
    """Number of directions in which the data vary."""
    interrupted: bool = False
    """Whether the user asked for the best model so far."""


def train(
    samples: Samples,
    settings: TrainingSettings,
    *,
    rng: np.random.Generator,
    workers: Workers = ALONE,
    monitor: TrainingMonitor | None = None,
) -> Training:
    """Train a hidden Markov model with Gaussian states."""
    trainer = _Trainer(samples, settings, workers, monitor or TrainingMonitor(workers=workers))
    training = trainer.train(rng)
    give_back_freed()
    return training


class _Trainer:
    """A training from its start to its end: data, settings, and what has been tried so far."""

    def __init__(
        self,
        samples: Samples,
        settings: TrainingSettings,
        workers: Workers,
        monitor: TrainingMonitor,
    ):
        self.samples, self.settings, self.workers = samples, settings, workers
        self.monitor = monitor
        self.interrupted = False
        rule = settings.rule
        # Initial densities that are not learned are taken as they are.
        as_they_are = settings.initial.covariances is not None and not rule.learn_covariances
        self.whitening = (
            Whitening.identity(samples.n_features)
            if as_they_are
            else Whitening.fit(
                samples,
                centered=rule.learn_means,
                covariance_type=rule.covariance_type,
                workers=workers,
            )
        )
        # Densities of features differ from those of whitened features by a constant.
        self.log_volume = monitor.log_volume = self.whitening.log_volume
        self.n_passes = 0.0
        self.search: BriefStarts | OptimumSearch | None = None
        self.start = Start([], [], [], {})
        self.moves: list[dict[str, Any]] = []
        self.batches: list[float] = []

    def train(self, rng: np.random.Generator) -> Training:
        """Train, or take the best model there is when the user asks for it."""
        settings = self.settings
        try:
            best = self._train_to_end(rng)
        except InterruptedEarlyError:
            best = self._take_best_so_far()
        starts = self.start.starts
        if not settings.searching:
            history = list(best.free_energy)
            starts = [
                {"init": "given", "n_states": settings.n_states}
                | {"free_energy": history, "kept": True}
            ]
        assert best.statistics is not None
        weights = best.statistics.moments.weights
        parameters = self.whitening.unwhiten_parameters(best.parameters)
        if settings.searching and not settings.initial.any_given:
            # The order of states found by a search says nothing: the most frequent comes first.
            order = np.argsort(-weights, kind="stable")
            weights, parameters = weights[order], reordered(parameters, order)
        return Training(
            parameters=parameters,
            free_energy=[value - self.log_volume for value in best.free_energy],
            seconds=best.seconds,
            converged=best.converged and not self.interrupted,
            starts=[
                start | {"free_energy": [value - self.log_volume for value in start["free_energy"]]}
                for start in starts
            ],
            moves=[
                move | {"free_energy": move["free_energy"] - self.log_volume} for move in self.moves
            ],
            search=self.start.search,
            batches=[value - self.log_volume for value in self.batches],
            lost=np.flatnonzero(weights < MIN_STATE_WEIGHT).tolist(),
            rise=largest_rise(best.free_energy),
            n_passes=self.n_all_passes,
            rank=self.whitening.rank,
            interrupted=self.interrupted,
        )

    def _train_to_end(self, rng: np.random.Generator) -> EMRun:
        """Start, make moves, and run EM to the end."""
        settings = self.settings
        rng_starts, rng_moves, rng_batches = rng.spawn(3)
        if settings.searching:
            way = OptimumSearch if settings.refining else BriefStarts
            self.search = way(
                self.samples,
                settings,
                self.whitening,
                workers=self.workers,
                monitor=self.monitor,
            )
            self.start = self.search.begin(rng_starts)
            self.moves += self.start.moves
        # Not before: starts need less than all data, and memory better used than by these.
        data = self._whiten_all_data()
        run, *others = self.start.runs or [EMRun(self._initial_parameters(data))]
        if settings.batches is not None:
            # What is known of all data is as little as the windows say.
            self.start.search.update({"complete": True} if settings.refining else {})
            run = EMRun(self._train_on_batches(data, run.parameters, settings.batches, rng_batches))
        elif isinstance(self.search, OptimumSearch):
            run = self._refine(self.search, data, run, others, rng_moves)
        return self._run("training", data, run)

    def _whiten_all_data(self) -> Data:
        n_columns = self.settings.n_states * self.samples.n_features
        return self.whitening.apply(self.samples, n_columns, self.workers)

    def _take_best_so_far(self) -> EMRun:
        """Take the best model so far, and pass over all data with it if that was not done."""
        interrupt = self.monitor.interrupt
        best, self.interrupted = interrupt.best, True
        assert best is not None
        if interrupt.level == ON_ALL:
            return best
        # Not in the journal: another model will be there when the same training goes on.
        settings = self.settings
        run = EMRun(best.parameters)
        data = self._whiten_all_data()
        converge(data, run, settings.rule, max_iter=0, tol=settings.tol, prior=settings.prior)
        self.n_passes += run.n_passes
        return run

    def _refine(
        self,
        search: OptimumSearch,
        data: Data,
        run: EMRun,
        others: list[EMRun],
        rng: np.random.Generator,
    ) -> EMRun:
        """Try other optima, and moves out of the best, as long as that lowers the free energy."""
        n_before = 0.0
        is_sure = False
        for i_round, child in enumerate(rng.spawn(MAX_ROUNDS), 1):
            run = self._run(f"search, round {i_round}", data, run, is_near_optimum)
            # Another round costs about as much as the last.
            cost, n_before = self.n_all_passes - n_before, self.n_all_passes
            if i_round > 1 and self.n_all_passes + cost > MAX_PASSES:
                break
            give_back_freed()  # what compiling took
            proposed = search.propose(data, run, i_round, child)
            self.moves += proposed.moves
            best = self._try_on_all(data, run, [*proposed.runs, *others], i_round)
            others = []
            if best is None:
                is_sure = True
                break
            run = best
        self.start.search["complete"] = is_sure
        return run

    def _try_on_all(
        self, data: Data, run: EMRun, others: list[EMRun], i_round: int
    ) -> EMRun | None:
        """Try other models on all data; get the best if it is better than the present one."""
        goal = run.free_energy[-1] - MIN_GAIN
        best = None
        tried = []
        for i_move, other in enumerate(others, 1):
            other = self._run(
                f"search, round {i_round}, move {i_move}", data, other, partial(is_judged, goal)
            )
            tried.append(other)
            if other.free_energy[-1] < goal:
                goal, best = other.free_energy[-1], other
        self.moves += [
            {"round": i_round, "n_states": self.settings.n_states, "all_data": True}
            | {"free_energy": other.free_energy[-1], "kept": other is best}
            for other in tried
        ]
        return best

    @property
    def n_all_passes(self) -> float:
        """Passes over all data so far, the search on the subsample included."""
        return self.n_passes + (0 if self.search is None else self.search.n_passes)

    def _run(
        self,
        stage: str,
        data: Data,
        run: EMRun,
        is_enough: Callable[[EMRun], bool] | None = None,
    ) -> EMRun:
        """Run EM, or go on where the journal says; without `is_enough` it is the last run."""
        settings, n_begun = self.settings, run.n_passes
        monitor = RunMonitor(
            self.monitor,
            stage,
            max_passes=settings.max_iter if is_enough is None else settings.n_search_steps,
            level=ON_ALL if data.samples is self.samples else ON_SUBSAMPLE,
            is_enough=is_enough,
        )
        share = data.n_samples / self.samples.n_samples
        ended = monitor.result()
        if ended is not None:
            self.n_passes += share * (ended.n_passes - n_begun)
            return ended
        run = monitor.state() or run
        try:
            converge(
                data,
                run,
                settings.rule,
                max_iter=settings.max_iter,
                tol=settings.tol,
                prior=settings.prior,
                monitor=monitor,
            )
        except (KeyboardInterrupt, InterruptedEarlyError):
            monitor.save()
            raise
        finally:
            self.n_passes += share * (run.n_passes - n_begun)
        monitor.finish(run)
        return run

    def _train_on_batches(
        self,
        data: Data,
        parameters: Parameters,
        batches: MiniBatches,
        rng: np.random.Generator,
    ) -> Parameters:
        """Train on mini-batches, and keep their history."""
        trained = train_on_batches(
            data,
            parameters,
            self.settings.rule,
            batches,
            rng=rng,
            prior=self.settings.prior,
            monitor=self.monitor,
        )
        self.n_passes += trained.n_passes
        self.batches = trained.free_energy
        return trained.parameters

    def _initial_parameters(self, data: Data) -> Parameters:
        """Get the parameters that the user's initial values and labels stand for."""
        settings, initial = self.settings, self.settings.initial
        if isinstance(settings.init, Parameters):
            replaced = {name: value for name, value in vars(initial).items() if value is not None}
            initial = InitialParameters(**settings.init._replace(**replaced)._asdict())
        if initial.all_emissions:
            start = pooled_parameters(settings.n_states, data.n_features)
        else:
            assert isinstance(settings.init, np.ndarray)
            labels = self._labels_of_worker(settings.init, data)
            start = parameters_from_labels(
                data, labels, settings.n_states, settings.rule, settings.prior
            )
        return start._replace(**initial.whitened(self.whitening))

    def _labels_of_worker(self, labels: np.ndarray, data: Data) -> np.ndarray:
        """Get the labels of this worker's samples."""
        by_recording = np.split(labels, np.cumsum(self.samples.sizes)[:-1])
        own_labels = [by_recording[i_recording] for i_recording in data.recordings]
        return np.concatenate(own_labels) if own_labels else np.zeros(0, int)


def is_near_optimum(run: EMRun) -> bool:
    """Whether a run is near enough to its optimum for moves out of it."""
    history = run.free_energy
    return len(history) > 1 and (
        history[-2] - history[-1] < SETTLED_DECREASE or run.n_updates >= MAX_UPDATES_BEFORE_MOVES
    )


def is_judged(goal: float, run: EMRun) -> bool:
    """Whether a run has come below a goal, or has no hope to."""
    if run.n_updates < MIN_TRIAL_UPDATES:
        return False
    *_, before, last = run.free_energy
    hoped = last - N_HOPED_UPDATES * (before - last)
    return last < goal or run.n_updates >= MAX_TRIAL_UPDATES or hoped > goal
