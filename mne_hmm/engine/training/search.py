"""Where training on all data begins, and what else it tries: starts and moves on a part of it."""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from ..inference.gaussian import Parameters
from ..inference.samples import Data, Samples
from ..runtime.memory import give_back_freed
from ..runtime.workers import Workers
from .em import Run
from .initialization import kmeans_labels, parameters_from_labels, random_labels
from .interrupt import ON_PART, Interrupt
from .prior import sticky_chain
from .run_state import Report, SharedJournal
from .settings import KMEANS, MOST_PASSES, SUBSET, Plan
from .split_merge import N_AT_MOST, Search
from .subsample import Part
from .whitening import Coordinates

# Updates each start gets before the best is chosen.
BRIEF = 8
# Nats per sample of a start's decrease that count when it is judged whether training has settled.
MOST_GAINED = 1.0


class Begun(NamedTuple):
    """The best start."""

    run: Run
    """Where training on all data begins."""
    starts: list[dict]
    """For every start what it was, its course and whether it was the best."""


class Proposed(NamedTuple):
    """The best few moves, and all others."""

    runs: list[Run]
    """Where the best that do not lead back lead to, best first, to be tried on all data."""
    moves: list[dict]
    """Every move that was tried on the part, best first: what it was, its free energy, and whether
    it leads back."""


class Candidates:
    """Models that training on all data should try, found on a part of the data.

    Each worker finds its own on the same part; those of the chief count.
    """

    def __init__(
        self,
        samples: Samples,
        plan: Plan,
        coordinates: Coordinates,
        *,
        workers: Workers,
        journal: SharedJournal,
        tell: Report,
        interrupt: Interrupt,
    ):
        self.plan, self.coordinates, self.journal, self.tell = plan, coordinates, journal, tell
        self.interrupt = interrupt
        self.part = Part.of(samples, coordinates, plan.n_states, workers)
        self.search = Search(self.part, plan.n_states, plan.rule, plan.prior)

    @property
    def n_passes(self) -> float:
        """What all of it has cost, in passes over all data."""
        return self.search.n_passes

    def begin(self, rng: np.random.Generator) -> Begun:
        """Start several times, each briefly, and take the best."""
        plan = self.plan
        most = MOST_PASSES if plan.refining else plan.n_init
        self._count("search, starts", most, self._offer)
        courses = []
        for attempt, child in enumerate(rng.spawn(plan.n_init)):
            name, step = f"start {attempt + 1}", partial(self._start, attempt, child)
            # One that is made now has been offered before it was told.
            courses.append(self._known(name, step, self._offer_course))
        judged = courses
        if plan.init == SUBSET:
            # One start on half of the part is not to be compared with another on the other half.
            judged = [
                self._known(f"start {number} on all of the part", partial(self._once_more, course))
                for number, course in enumerate(courses, 1)
            ]
        best = int(np.argmin([course["free_energy"][-1] for course in judged]))
        starts = [
            {"init": plan.init, "n_states": plan.n_states, "kept": number == best}
            | {"free_energy": course["free_energy"].tolist()}
            for number, course in enumerate(courses)
        ]
        give_back_freed()  # what compiling took
        course = judged[best]["free_energy"]
        # What a start has gained counts when it is judged whether it has settled; but a random one
        # gains tens of nats in its first updates, which tell how far off it was and no more.
        before = float(min(course[0] - course[-1], MOST_GAINED))
        return Begun(Run(Parameters(**judged[best]["parameters"]), before=before), starts)

    def propose(self, run: Run, number: int, rng: np.random.Generator) -> Proposed:
        """Try moves out of the optimum that a run has come to."""
        stage, search = f"search, round {number}, moves", self.search
        self._count(stage, MOST_PASSES)

        def step():
            proposals = search.best_moves(run, rng)
            chosen = [proposal for proposal in proposals if not proposal.leads_back][:N_AT_MOST]
            return {
                "parameters": [proposal.move.parameters._asdict() for proposal in chosen],
                "tried": [
                    {"split": move.split, "merged": list(move.merged)}
                    | {"free_energy": free_energy, "leads_back": leads_back}
                    for move, free_energy, leads_back in proposals
                ],
            }

        found = self._known(stage, step)
        what = {"round": number, "n_states": self.plan.n_states}
        tried = [what | move for move in found["tried"]]
        runs = [Run(Parameters(**parameters)) for parameters in found["parameters"]]
        return Proposed(runs, tried)

    def _offer(self, run):
        self.interrupt.offer(run, ON_PART)

    def _offer_course(self, course):
        self._offer(Run(Parameters(**course["parameters"]), course["free_energy"].tolist()))

    def _count(self, stage, most, first=lambda run: None):
        """Count the runs of EM of a stage, of which something else is told first."""
        count = 0

        def told(run):
            nonlocal count
            count += 1
            first(run)
            self.tell(stage, count, run.free_energy[-1], float(np.mean(run.seconds)), most)
            self.interrupt.check()

        self.search.told = told

    def _known(
        self,
        name: str,
        step: Callable[[], dict[str, Any]],
        found: Callable[[dict[str, Any]], None] = lambda done: None,
    ) -> dict[str, Any]:
        """Make a step, unless the journal has what it came to; what the chief has counts.

        What the journal has goes to ``found``.
        """
        done = self.journal.result(name)
        if done is not None:
            found(done)
            self.search.n_passes += done["n_passes"]
            return done
        before = self.search.n_passes
        done = step()
        done = self.journal.agree(done | {"n_passes": self.search.n_passes - before})
        self.journal.finish(name, done)
        return done

    def _start(self, attempt, rng):
        """Begin on the part of the data, and run briefly."""
        plan, part = self.plan, self.part
        samples, data = part.samples, part.data
        if plan.init == SUBSET:
            # The windows are in the engine's coordinates already.
            samples = part.subset(rng)
            data = Data(samples, plan.n_states * samples.n_features)
        if plan.init == KMEANS:
            labels = kmeans_labels(
                samples, plan.n_states, rng, attempt=attempt, use_means=plan.rule.learn_means
            )
        else:
            transition = plan.given.transition_matrix
            if transition is None:
                transition = sticky_chain(plan.n_states)[1]
            labels = random_labels(samples, transition, rng)
        start = parameters_from_labels(data, labels, plan.n_states, plan.rule, plan.prior)
        start = start._replace(**plan.given.inside(self.coordinates))
        return _course(self.search.run(start, min(BRIEF, plan.max_iter), data))

    def _once_more(self, course):
        return _course(self.search.run(Parameters(**course["parameters"]), 1))


def _course(run):
    return {"parameters": run.parameters._asdict(), "free_energy": np.array(run.free_energy)}
