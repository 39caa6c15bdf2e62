"""Where training on all data begins, and what else it tries, both found on a subsample."""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from ..inference.gaussian import Parameters
from ..inference.samples import Data, Samples
from ..runtime.memory import give_back_freed
from ..runtime.workers import Workers
from .em import EMRun
from .initialization import kmeans_labels, parameters_from_labels, random_labels
from .monitor import BriefRuns, TrainingMonitor
from .prior import sticky_chain
from .settings import KMEANS, MAX_PASSES, SUBSET, TrainingSettings
from .split_merge import MAX_TRIED, SplitMergeSearch
from .subsample import Subsample
from .whitening import Whitening

# Updates each start gets before the best is chosen.
N_BRIEF_UPDATES = 8
# Nats per sample of a start's decrease that count when it is judged whether training has converged.
MAX_COUNTED_DECREASE = 1.0


class BestStart(NamedTuple):
    """The best of several starts."""

    run: EMRun
    """Where training on all data begins."""
    starts: list[dict[str, Any]]
    """For every start what it was, its history and whether it was the best."""


class ProposedMoves(NamedTuple):
    """The best few moves, and all others."""

    runs: list[EMRun]
    """Where the best that do not lead back lead to, best first, to be tried on all data."""
    moves: list[dict[str, Any]]
    """Every move that was tried on the subsample, best first: what it was, its free energy, and
    whether it leads back."""


class CandidateSearch:
    """Finds models that training on all data should try, on a subsample.

    Each worker finds its own on the same subsample; those of the chief count.
    """

    def __init__(
        self,
        samples: Samples,
        settings: TrainingSettings,
        whitening: Whitening,
        *,
        workers: Workers,
        monitor: TrainingMonitor,
    ):
        self.settings, self.whitening, self.monitor = settings, whitening, monitor
        self.subsample = Subsample.of(samples, whitening, settings.n_states, workers)
        most = MAX_PASSES if settings.refining else settings.n_init
        self._brief_runs = BriefRuns(monitor, "search, starts", most, offered=True)
        self.search = SplitMergeSearch(
            self.subsample, settings.n_states, settings.rule, settings.prior, self._brief_runs
        )

    @property
    def n_passes(self) -> float:
        """Cost of the whole search, in passes over all data."""
        return self.search.n_passes

    def begin(self, rng: np.random.Generator) -> BestStart:
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
        # What a start has gained counts when it is judged whether it has converged; but a random
        # one gains tens of nats in its first updates, which say how far off it was and no more.
        before = float(min(free_energy[0] - free_energy[-1], MAX_COUNTED_DECREASE))
        return BestStart(EMRun(Parameters(**judged[best]["parameters"]), before=before), starts)

    def propose(self, run: EMRun, i_round: int, rng: np.random.Generator) -> ProposedMoves:
        """Try moves out of the optimum that a run has come to."""
        stage = f"search, round {i_round}, moves"
        self.search.brief_runs = BriefRuns(self.monitor, stage, MAX_PASSES)

        def try_moves() -> dict[str, Any]:
            proposals = self.search.best_moves(run, rng)
            chosen = [proposal for proposal in proposals if not proposal.leads_back][:MAX_TRIED]
            return {
                "parameters": [proposal.move.parameters._asdict() for proposal in chosen],
                "tried": [
                    {"split": move.split, "merged": list(move.merged)}
                    | {"free_energy": free_energy, "leads_back": leads_back}
                    for move, free_energy, leads_back in proposals
                ],
            }

        content, _ = self._recall_or_compute(stage, try_moves)
        in_round = {"round": i_round, "n_states": self.settings.n_states}
        tried = [in_round | move for move in content["tried"]]
        runs = [EMRun(Parameters(**parameters)) for parameters in content["parameters"]]
        return ProposedMoves(runs, tried)

    def _recall_or_compute(
        self, name: str, compute: Callable[[], dict[str, Any]]
    ) -> tuple[dict[str, Any], bool]:
        """Get what a step came to and whether it is from the journal, and count its passes."""
        n_before = self.search.n_passes

        def counted() -> dict[str, Any]:
            content = compute()
            return content | {"n_passes": self.search.n_passes - n_before}

        content, is_recalled = self.monitor.recall_or_compute(name, counted)
        if is_recalled:
            self.search.n_passes += content["n_passes"]
        return content, is_recalled

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
            labels = random_labels(samples, transition, rng)
        start = parameters_from_labels(
            data, labels, settings.n_states, settings.rule, settings.prior
        )
        start = start._replace(**settings.initial.whitened(self.whitening))
        return _history_of(self.search.run(start, min(N_BRIEF_UPDATES, settings.max_iter), data))

    def _pass_over_all(self, history: dict[str, Any]) -> dict[str, Any]:
        """Make one update of a start on all of the subsample."""
        return _history_of(self.search.run(Parameters(**history["parameters"]), 1))


def _history_of(run: EMRun) -> dict[str, Any]:
    return {"parameters": run.parameters._asdict(), "free_energy": np.array(run.free_energy)}
