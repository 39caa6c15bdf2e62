"""Where training on all data begins, and what else it tries, found on parts or sums of the data."""

from collections.abc import Callable
from functools import cached_property, partial
from typing import Any, NamedTuple

import numpy as np

from ..inference.gaussian import FULL, Parameters
from ..inference.samples import Data, Samples
from ..runtime.memory import give_back_freed
from ..runtime.workers import Workers
from .em import EMRun, converge, posterior
from .initialization import cluster, kmeans_labels, parameters_from_labels, random_labels
from .monitor import BriefRuns, TrainingMonitor
from .prior import sticky_chain
from .settings import KMEANS, SUBSET, TrainingSettings
from .subsample import Subsample
from .whitening import Whitening
from .window_mixtures import Mixture, MixtureEM
from .window_moves import window_features
from .window_search import WindowSearch
from .window_sums import WindowSums, window_lengths

# Updates each start gets before the best is chosen, where no moves are made.
N_BRIEF_UPDATES = 8
# What was gained before training on all data counts when it is judged whether that has converged;
# but no more nats per sample, since a random start gains tens in its first updates, which say how
# far off it was.
MAX_COUNTED_DECREASE = 1.0
# Shorter windows are taken if their free energy is lower by this share of what the longer ones are
# below one state: states end within these.
MIN_SHARE_OF_SHORTER = 0.1
# A start has so many times the states, which are merged down.
MORE_STATES = 2
# A move must gain this share of what a model is below one state, and no less than so many nats per
# sample; all data will tell what is better by less.
MIN_SHARE_GAINED, MIN_GAIN = 5e-4, 1e-4
# In the end, moves may gain less by this factor.
FINER = 5
# Other optima than the best one are tried on all data, too, if they are no more than so many nats
# per sample above it.
MAX_BEHIND = 0.05


class Start(NamedTuple):
    """Where training on all data begins."""

    runs: list[EMRun]
    """The best, and others that may turn out to be better."""
    starts: list[dict[str, Any]]
    """For every start what it was, its history and whether it was the best."""
    moves: list[dict[str, Any]]
    """Moves that were followed to their end."""
    search: dict[str, Any]
    """How sure the search is: how many starts there were, how many came to the best, and whether no
    move gained anything when it ended."""


class Proposed(NamedTuple):
    """Models that are to be tried on all data, and the moves that led to them."""

    runs: list[EMRun]
    moves: list[dict[str, Any]]


class _Search:
    """What both searches have: steps that the journal remembers, and a count of their passes."""

    def __init__(
        self,
        samples: Samples,
        settings: TrainingSettings,
        whitening: Whitening,
        *,
        workers: Workers,
        monitor: TrainingMonitor,
    ):
        self.samples, self.settings, self.whitening = samples, settings, whitening
        self.workers, self.monitor = workers, monitor
        self.n_passes = 0.0
        """Cost so far, in passes over all data."""

    def _recall_or_compute(
        self, name: str, compute: Callable[[], dict[str, Any]]
    ) -> tuple[dict[str, Any], bool]:
        """Get what a step came to and whether it is from the journal, and count its passes."""
        n_before = self.n_passes

        def counted() -> dict[str, Any]:
            content = compute()
            return content | {"n_passes": self.n_passes - n_before}

        content, is_recalled = self.monitor.recall_or_compute(name, counted)
        if is_recalled:
            self.n_passes += content["n_passes"]
        return content, is_recalled


class BriefStarts(_Search):
    """Starts several times on a subsample, each briefly, and takes the best.

    Each worker does so on the same subsample; what the chief finds counts.
    """

    @cached_property
    def subsample(self) -> Subsample:
        """Where starts are run."""
        return Subsample.of(self.samples, self.whitening, self.settings.n_states, self.workers)

    @cached_property
    def _brief_runs(self) -> BriefRuns:
        return BriefRuns(self.monitor, "search, starts", self.settings.n_init, offered=True)

    def begin(self, rng: np.random.Generator) -> Start:
        """Start several times, each briefly, and take the best."""
        settings = self.settings
        histories = []
        for i_start, child in enumerate(rng.spawn(settings.n_init)):
            history, is_recalled = self._recall_or_compute(
                f"start {i_start + 1}", partial(self._start, i_start, child)
            )
            if is_recalled:  # others were offered when they were over
                self._brief_runs.offer_recalled(history)
            histories.append(history)
        judged = histories
        if settings.init == SUBSET:
            # A start on half of the subsample is not to be compared with another on the other half.
            judged = [
                self._recall_or_compute(
                    f"start {i_start} on all of the part", partial(self._pass_over_all, history)
                )[0]
                for i_start, history in enumerate(histories, 1)
            ]
        best = int(np.argmin([history["free_energy"][-1] for history in judged]))
        starts = [
            {"init": settings.init, "n_states": settings.n_states, "kept": i_start == best}
            | {"free_energy": history["free_energy"].tolist()}
            for i_start, history in enumerate(histories)
        ]
        give_back_freed()  # what compiling took
        free_energy = judged[best]["free_energy"]
        before = float(min(free_energy[0] - free_energy[-1], MAX_COUNTED_DECREASE))
        run = EMRun(Parameters(**judged[best]["parameters"]), before=before)
        return Start([run], starts, [], {})

    def _start(self, i_start: int, rng: np.random.Generator) -> dict[str, Any]:
        """Begin on the subsample, and run briefly."""
        settings, subsample = self.settings, self.subsample
        samples, data = subsample.samples, subsample.data
        if settings.init == SUBSET:
            # The windows are whitened already.
            samples = subsample.draw_half(rng)
            data = Data(samples, settings.n_states * samples.n_features)
        if settings.init == KMEANS:
            labels = kmeans_labels(
                samples,
                settings.n_states,
                rng,
                attempt=i_start,
                use_means=settings.rule.learn_means,
            )
        else:
            transition = settings.initial.transition_matrix
            if transition is None:
                transition = sticky_chain(settings.n_states)[1]
            labels = random_labels(samples.chains, transition, rng)
        start = parameters_from_labels(
            data, labels, settings.n_states, settings.rule, settings.prior
        )
        start = start._replace(**settings.initial.whitened(self.whitening))
        return self._run(start, min(N_BRIEF_UPDATES, settings.max_iter), data)

    def _pass_over_all(self, history: dict[str, Any]) -> dict[str, Any]:
        """Make one update of a start on all of the subsample."""
        return self._run(Parameters(**history["parameters"]), 1, self.subsample.data)

    def _run(self, parameters: Parameters, n_updates: int, data: Data) -> dict[str, Any]:
        """Run EM on the subsample or on data out of it."""
        settings, subsample = self.settings, self.subsample
        run = converge(
            data,
            EMRun(parameters),
            settings.rule,
            max_iter=n_updates,
            tol=0,
            prior=settings.prior,
        )
        self.n_passes += run.n_passes * subsample.share * data.n_samples / subsample.data.n_samples
        self._brief_runs.after_run(run)
        return {"parameters": run.parameters._asdict(), "free_energy": np.array(run.free_energy)}


class OptimumSearch(_Search):
    """Searches for the best optimum on windows of the data.

    Each worker does so on the same windows; what the chief finds counts.
    """

    length = 0
    """Samples of a window at most."""
    _chosen: WindowSums | None = None
    """Windows for starts, once they are summed up."""

    def begin(self, rng: np.random.Generator) -> Start:
        """Start several times, and make moves from each until none gains anything.

        Starts that could not outvote those that have come to the best are left out.
        """
        settings = self.settings
        brief_runs = BriefRuns(
            self.monitor, "search, starts", settings.n_search_steps, offered=True
        )
        (rng_length,) = rng.spawn(1)
        content, _ = self._recall_or_compute("windows", partial(self._choose_length, rng_length))
        self.length = content["length"]
        found: list[dict[str, Any]] = []
        for i_start, child in enumerate(rng.spawn(settings.n_init), 1):
            known = min((content["free_energy"][-1] for content in found), default=-np.inf)
            content, is_recalled = self._recall_or_compute(
                f"start {i_start}", partial(self._start, child, brief_runs, known)
            )
            if is_recalled:  # others were offered when they were over
                brief_runs.offer_recalled(content)
            found.append(content)
            ends = np.array([content["free_energy"][-1] for content in found])
            best = int(np.argmin(ends))
            least = self._min_gain(ends[best])
            n_same = int((ends - ends[best] < least).sum())
            if n_same > settings.n_init / 2:
                break
        self._chosen = None
        give_back_freed()
        starts = [
            {"init": settings.init, "n_states": settings.n_states, "kept": i_start == best}
            | {"free_energy": content["free_energy"].tolist()}
            for i_start, content in enumerate(found)
        ]
        moves = [
            {"round": move["round"], "n_states": settings.n_states, "start": i_start} | move
            for i_start, content in enumerate(found)
            for move in content["moves"]
        ]
        runs = [self._run(found[i_start]) for i_start in different_optima(ends, least)]
        search = {"n_starts": len(ends), "n_same": n_same, "complete": False}  # as of now
        return Start(runs, starts, moves, search)

    def propose(self, data: Data, run: EMRun, i_round: int, rng: np.random.Generator) -> Proposed:
        """Make moves out of the optimum that a run has come to, on windows of its visits."""
        stage = f"search, round {i_round}, moves"
        brief_runs = BriefRuns(self.monitor, stage, self.settings.n_search_steps)
        content, _ = self._recall_or_compute(
            stage, partial(self._make_moves, data, run, rng, brief_runs)
        )
        moves = [
            move | {"round": i_round, "n_states": self.settings.n_states}
            for move in content["moves"]
        ]
        give_back_freed()
        return Proposed([self._run(content)] if content["gains"] else [], moves)

    def _run(self, content: dict[str, Any]) -> EMRun:
        """Get where training on all data goes on from what was found."""
        decrease = self.pooled_free_energy - content["free_energy"][-1]
        decrease = float(np.clip(decrease, 0, MAX_COUNTED_DECREASE))
        return EMRun(Parameters(**content["parameters"]), before=decrease)

    def _min_gain(self, free_energy: float) -> float:
        """Nats per sample that a move must gain."""
        return max(MIN_SHARE_GAINED * (self.pooled_free_energy - free_energy), MIN_GAIN)

    @property
    def pooled_free_energy(self) -> float:
        """Nats per sample of whitened data that are one state."""
        return 0.5 * self.whitening.rank * (1 + np.log(2 * np.pi))

    def _choose_length(self, rng: np.random.Generator) -> dict[str, Any]:
        """Choose windows that are as long as states allow.

        Where states end within windows, their free energy is far above that of shorter ones.
        """
        n_states, prior = self.settings.n_states, self.settings.prior
        lengths = window_lengths(self.samples.n_samples, n_states)
        mixture = None
        for length in lengths:
            self.length = length
            windows = self._windows()
            search = WindowSearch(windows, n_states, MIN_GAIN, prior)
            if mixture is not None:
                longer, mixture = mixture, search.go_on(mixture)
                self._count(search)
                gain = longer.free_energy - mixture.free_energy
                if gain < MIN_SHARE_OF_SHORTER * (self.pooled_free_energy - longer.free_energy):
                    break
            elif len(lengths) > 1:
                mixture = search.settle(cluster(window_features(windows), n_states, rng))
                self._count(search)
            self._chosen = windows
        assert self._chosen is not None
        return {"length": self._chosen.length}

    def _start(
        self,
        rng: np.random.Generator,
        brief_runs: BriefRuns,
        known: float,
    ) -> dict[str, Any]:
        """Start once, and make moves until none gains anything or the best known is met."""
        rng_labels, rng_moves = rng.spawn(2)
        if self._chosen is None:  # chosen before a training was interrupted
            self._chosen = self._windows(is_counted=False)
        windows = self._chosen
        history: list[float] = []
        search = self._search(windows, brief_runs, history)
        mixture = search.settle(self._labels(windows, rng_labels))
        search.min_gain = self._min_gain(mixture.free_energy)
        mixture, moves = search.improve(mixture, rng_moves, known=known)
        self._count(search)
        parameters = search.parameters(mixture)._asdict()
        return {"parameters": parameters, "free_energy": np.array(history), "moves": moves}

    def _make_moves(
        self, data: Data, run: EMRun, rng: np.random.Generator, brief_runs: BriefRuns
    ) -> dict[str, Any]:
        windows = self._windows(self._states(data, run.parameters))
        search = self._search(windows, brief_runs, [])
        assert windows.labels is not None
        before = search.settle(windows.labels)
        search.min_gain = self._min_gain(before.free_energy) / FINER
        mixture, moves = search.improve(before, rng)
        self._count(search)
        return {
            "parameters": search.parameters(mixture)._asdict(),
            "free_energy": np.array([before.free_energy, mixture.free_energy]),
            "gains": mixture is not before,
            "moves": moves,
        }

    def _states(self, data: Data, parameters: Parameters) -> dict[int, np.ndarray]:
        """Get the likeliest states of the samples of this worker's recordings."""
        self.n_passes += 1
        if not data.recordings:
            return {}
        states = posterior(data, parameters, self.settings.rule.covariance_type)
        sizes = [self.samples.sizes[i] for i in data.recordings]
        labels = np.split(states.probabilities.argmax(1), np.cumsum(sizes)[:-1])
        return dict(zip(data.recordings, labels, strict=True))

    def _windows(
        self, labels: dict[int, np.ndarray] | None = None, *, is_counted: bool = True
    ) -> WindowSums:
        samples, settings = self.samples, self.settings
        windows = WindowSums.of(
            samples,
            self.whitening,
            settings.rule,
            length=self.length,
            labels=labels,
            workers=self.workers,
        )
        # Whitening is a product, and so are the sums; a pass is one for every state and one more.
        if is_counted:
            self.n_passes += 2 * windows.share / (settings.n_states + 1)
        return windows

    def _search(
        self, windows: WindowSums, brief_runs: BriefRuns, history: list[float]
    ) -> WindowSearch:
        """Make a search that keeps a history of free energies, and reports them."""
        settings = self.settings

        def after_round(mixture: Mixture, seconds: float) -> None:
            history.append(mixture.free_energy)
            run = EMRun(search.parameters(mixture), [mixture.free_energy], [seconds])
            brief_runs.after_run(run)

        search = WindowSearch(windows, settings.n_states, MIN_GAIN, settings.prior, after_round)
        return search

    def _count(self, search: WindowSearch) -> None:
        """Count the passes over all data that take as many multiplications."""
        n_features = search.windows.n_features
        n_products = n_features**2 if self.settings.rule.covariance_type == FULL else n_features
        of_pass = self.samples.n_samples * n_products * (self.settings.n_states + 1)
        self.n_passes += search.em.n_multiplications / of_pass

    def _labels(self, windows: WindowSums, rng: np.random.Generator) -> np.ndarray:
        """Assign windows to more states than there will be; those left out are in none."""
        settings = self.settings
        # As many as may have samples enough.
        most = int(windows.n_samples.sum() / (2 * MixtureEM(windows).min_per_state))
        n_states = int(np.clip(most, settings.n_states, MORE_STATES * settings.n_states))
        if settings.init == KMEANS:
            return cluster(window_features(windows), n_states, rng)
        chains = np.bincount(windows.recordings)
        labels = random_labels(chains[chains > 0].tolist(), sticky_chain(n_states)[1], rng)
        if settings.init == SUBSET:
            labels[rng.permutation(len(labels)) < len(labels) // 2] = -1
        return labels


def different_optima(free_energies: np.ndarray, least: float) -> list[int]:
    """Find one of each optimum that is worth a try, best first: they differ by so much at least."""
    chosen: list[int] = []
    for i_start in np.argsort(free_energies, kind="stable").tolist():
        above = free_energies[i_start] - free_energies[chosen]
        if not chosen or (above[-1] >= least and above[0] <= MAX_BEHIND):
            chosen.append(i_start)
    return chosen
