"""Where training on all data begins: starts and searches on a part of the data."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial

import numpy as np

from .coordinates import Coordinates
from .distribute import Workers
from .em import Run
from .interrupt import Interrupt
from .memory import give_back_freed
from .part import Part
from .plan import KMEANS, SUBSET, Plan
from .prior import sticky_chain
from .refine import Search, Way, n_states_to_begin_with, worth_a_run
from .samples import Data, Samples
from .start import kmeans_labels, parameters_from_labels, random_labels
from .steps import Report, SharedJournal, run_from, to_content

# Updates each start gets before the best is chosen.
BRIEF = 8

# The stage in which runs of EM on a part of the data are counted, not passes.
SEARCH = "search"


@dataclass
class Candidates:
    """Models that training on all data should begin with."""

    runs: list[Run]
    """As runs to be begun on all data, the most promising first."""
    starts: list[dict]
    """For every start what it was, its course and whether it was the best."""
    moves: list[dict] = field(default_factory=list)
    """Every merge that was tried."""
    n_passes: float = 0.0
    """What the search cost, in passes over all data."""


def find_candidates(
    samples: Samples,
    plan: Plan,
    coordinates: Coordinates,
    *,
    rngs: Sequence[np.random.Generator],
    workers: Workers,
    journal: SharedJournal,
    tell: Report,
    interrupt: Interrupt,
) -> Candidates:
    """Find the best few models on a part of the data.

    What is best on a part need not be best on all data. So all data tell between the
    model that was searched for, others that come close, and the best start without a search.

    Parameters
    ----------
    samples : Samples
        The data of all workers.
    plan : Plan
        How to train.
    coordinates : Coordinates
        Those of the engine.
    rngs : sequence of numpy.random.Generator
        Sources of randomness for starts and for splits.
    workers : Workers
        Who shares the work.
    journal : SharedJournal
        Where steps that are done are remembered.
    tell : callable
        Called after every run of EM, with the number of runs in place of that of passes.
    interrupt : Interrupt
        Who is offered every model.

    Returns
    -------
    candidates : Candidates
        The models. Each worker finds its own; on the chief they are what its journal remembers.
    """
    finder = _Finder(samples, plan, coordinates, workers, journal, tell, interrupt)
    return finder.find(*rngs)


class _Finder:
    def __init__(self, samples, plan, coordinates, workers, journal, tell, interrupt):
        self.plan, self.coordinates, self.journal = plan, coordinates, journal
        self.interrupt = interrupt
        part = Part.of(samples, coordinates, plan.n_states, workers)
        self.n_states = plan.n_states
        if plan.refining:
            self.n_states = n_states_to_begin_with(part, plan.n_states, plan.rule)
        way = Way.within_means(self.n_states, plan.n_states, plan.n_init, part.share)
        n_runs = plan.n_init + way.n_runs + (plan.n_init if plan.refining else 0)
        count = 0

        def told(run):
            nonlocal count
            count += 1
            interrupt.offer(run, plan.n_states)
            tell(SEARCH, count, run.free_energy[-1], sum(run.seconds), n_runs)
            interrupt.check()

        self.search = Search(part, way, plan.rule, plan.prior, told)
        part.data.n_slots = self.n_states

    def find(self, start_rng, split_rng):
        plan, search = self.plan, self.search
        plain, starts = self._starts(plan.n_states, start_rng)
        give_back_freed()  # what compiling took
        best = min(plain, key=lambda run: run.free_energy[-1])
        # What a start has gained counts when it is judged whether it has settled. A model that
        # was searched for has nothing but small gains left, and they matter.
        runs = [Run(best.parameters, before=best.free_energy[0] - best.free_energy[-1])]
        moves: list[dict] = []
        if self.n_states > plan.n_states:
            begun, more = self._starts(self.n_states, start_rng)
            found = search.refine(begun, split_rng, self._known)
            runs = [*(Run(run.parameters) for run in worth_a_run(found.best)), *runs]
            starts, moves = starts + more, found.moves
        return Candidates(runs, starts, moves, search.n_passes)

    def _known(self, name: str, step: Callable[[], tuple[list[Run], list[dict]]]):
        """Make a step, unless the journal has what it came to."""
        # Each worker finds its own way, and the chief's counts: it alone looks up steps.
        search, journal = self.search, self.journal.of_chief
        done = journal.result(name)
        if done is None:
            before = search.n_passes
            runs, notes = step()
            content = {"runs": [to_content(run) for run in runs], "notes": notes}
            journal.finish(name, content | {"n_passes": search.n_passes - before})
            return runs, notes
        search.n_passes += done["n_passes"]
        runs = [run_from(run) for run in done["runs"]]
        for run in runs:
            self.interrupt.offer(run, self.plan.n_states)
        return runs, done["notes"]

    def _starts(self, n_states, rng):
        """Begin several times with some number of states; the starts, and notes of them."""
        runs: list[Run] = []
        starts: list[dict] = []
        for attempt, child in enumerate(rng.spawn(self.plan.n_init)):
            step = partial(self._start, n_states, attempt, child)
            new, notes = self._known(f"start {attempt + 1}, {n_states} states", step)
            runs, starts = runs + new, starts + notes
        # One start on half of the part is not to be compared with another on the other half.
        if self.plan.init == SUBSET:
            step = partial(self._on_whole_part, runs)
            runs, _ = self._known(f"starts on all of the part, {n_states} states", step)
        best = min(runs, key=lambda run: run.free_energy[-1])
        for run, start in zip(runs, starts, strict=True):
            start["kept"] = run is best
        return runs, starts

    def _start(self, n_states, attempt, rng):
        """Begin on the part of the data, and run briefly."""
        plan, part = self.plan, self.search.part
        samples, data = part.samples, part.data
        if plan.init == SUBSET:
            # The windows are in the engine's coordinates already.
            samples = part.subset(rng)
            data = Data(samples, n_states * samples.n_features)
            data.n_slots = self.n_states
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
        run = self.search.run(start, min(BRIEF, plan.max_iter), data)
        note = {"init": plan.init, "n_states": n_states, "free_energy": list(run.free_energy)}
        return [run], [note]

    def _on_whole_part(self, runs):
        return [self.search.run(run.parameters, 1) for run in runs], []
