"""A trained model: what it holds, what it says of recordings, and its file."""

import copy
import html
from collections.abc import Hashable, Iterable, Sequence
from typing import Any, NamedTuple

import mne
import numpy as np
from mne.utils import verbose

from .._utils.checks import check_number, check_option, check_random_state, listed, plural
from .._utils.docs import fill_doc
from .._utils.files import check_target
from ..io.inputs import is_several
from ..io.parcel_inputs import AtlasArguments, with_parcels
from ..online.decoder import OnlineDecoder
from ..preparation.covariance_alignment import Alignment
from ..preparation.prepare import prepare
from ..preparation.prepared_data import PreparedData, as_prepared, same_features
from ..preparation.settings import FittedPreparation
from ..states.agreement import StateAgreement, compute_agreement
from ..states.time_course import PREFIX, StateTimeCourse
from .dual_estimate import DualEstimate, estimate_recording, warn_of_unknown
from .file import Learned, read_model, write_model
from .inference import chain_lengths
from .training_reference import Reference, ReferenceComparison


class HMM:
    """A hidden Markov model with Gaussian states, and the preparation it belongs to.

    Made by `fit_hmm` and `read_hmm`.

    Parameters
    ----------
    initial_probs : array, shape (n_states,)
        Probability of each state at the start of a span.
    transition_matrix : array, shape (n_states, n_states)
        Probability of a step from state i to state j.
    means : array, shape (n_states, n_features)
        Mean of each state, in units of the features.
    covariances : array, shape (n_states, n_features, n_features)
        Covariance of each state.
    preparation : FittedPreparation
        What makes features of recordings.
    learned : Learned
        Which parameters were learned.
    history : dict | None
        The course of training.
    free_energy : float
        Nats per sample of the training data.
    converged : bool
        Whether training had settled when it stopped.
    annotations : list of mne.Annotations | None
        States of the training recordings.
    state_names : sequence of str | None
        Names of the states. None names them ``state_0`` and so on.
    random_state : int | None
        The seed, where it was a number.
    versions : dict | None
        Versions of the software it was trained with, and settings its bits depend on.
    reference : Reference | None
        Free energies of the training recordings, where they came with the model.
    alignments : sequence of Alignment | None
        The maps of the training recordings, where these were aligned.
    explained_by_recording : float
        Share of the variance of state occupancy that is explained by recording.
    atlas_arguments : AtlasArguments | None
        What made parcels of the training recordings, where that was done here.

    Attributes
    ----------
    n_states : int
        Number of states.
    initial_probs_ : array, shape (n_states,)
        Probability of each state at the start of a span.
    transition_matrix_ : array, shape (n_states, n_states)
        Probability of a step from state i to state j.
    means_ : array, shape (n_states, n_features)
        Mean of each state.
    covariances_ : array, shape (n_states, n_features, n_features)
        Covariance of each state.
    preparation_ : FittedPreparation
        What makes features of recordings.
    history_ : dict
        ``free_energy`` (nats per sample, before the first update and after each),
        ``seconds`` (per pass), ``starts`` (every start on a part of the data, its free energy,
        and whether it was the best), ``moves`` (every move that was tried: its ``round``, the
        state that was ``split``, the two that were ``merged``, where the second half of the
        split state has the number ``n_states``, the free energy it came to, on a part of the
        data unless it says ``all_data``, whether it ``leads_back`` to the model it was to lead
        out of, and whether it was ``kept``: tried on all data, or made), ``batches`` (free
        energy of each mini-batch) and ``n_passes`` (passes over the data in all; those over a
        part count in parts).
    free_energy_ : float
        Nats per sample of the training data; lower is better.
    converged_ : bool
        Whether training had settled when it stopped.
    annotations_ : list of mne.Annotations
        States of the training recordings, one entry per recording. Empty where epochs
        overlap.
    alignments_ : list of Alignment
        The map of each training recording to the mean of all, where they were aligned; empty
        otherwise. Spectra and maps come back in a recording's own channels by it.
    explained_by_recording_ : float
        Share of the variance of state occupancy in the training data that is explained by
        recording, as of `compute_recording_dependence`. NaN for one recording.
    state_names : tuple of str
        Names of the states.
    """

    def __init__(
        self,
        initial_probs: np.ndarray,
        transition_matrix: np.ndarray,
        means: np.ndarray,
        covariances: np.ndarray,
        preparation: FittedPreparation,
        *,
        learned: Learned,
        history: dict[str, Any] | None = None,
        free_energy: float = np.nan,
        converged: bool = False,
        annotations: list[mne.Annotations] | None = None,
        state_names: Sequence[str] | None = None,
        random_state: int | np.integer | None = None,
        versions: dict[str, Any] | None = None,
        reference: Reference | None = None,
        alignments: Sequence[Alignment] | None = None,
        explained_by_recording: float = np.nan,
        atlas_arguments: AtlasArguments | None = None,
    ):
        self.initial_probs_ = np.asarray(initial_probs, float)
        self.transition_matrix_ = np.asarray(transition_matrix, float)
        self.means_ = np.asarray(means, float)
        self.covariances_ = np.asarray(covariances, float)
        self.preparation_ = preparation
        self.learned = learned
        self.history_ = history or {}
        self.free_energy_ = float(free_energy)
        self.converged_ = bool(converged)
        self.annotations_ = list(annotations or [])
        self.state_names = (
            default_state_names(self.n_states) if state_names is None else tuple(state_names)
        )
        self.random_state = random_state
        self.versions = versions or {}
        self.reference = reference
        self.alignments_ = list(alignments or [])
        self.explained_by_recording_ = float(explained_by_recording)
        # Not saved: an atlas may be a file or many labels, and neither is the model's.
        self.atlas_arguments = atlas_arguments or AtlasArguments()

    @property
    def n_states(self) -> int:
        """Number of states."""
        return len(self.initial_probs_)

    @property
    def n_features(self) -> int:
        """Number of features."""
        return self.means_.shape[1]

    @property
    def n_parameters(self) -> int:
        """Number of free parameters that were learned."""
        return sum(count for _, _, count, learned in self._table() if learned)

    # What the model says of recordings

    @verbose
    @fill_doc
    def predict(
        self,
        inst: Any,
        *,
        method: str = "posterior",
        reject_by_annotation: bool = True,
        sfreq: float | None = None,
        group: Sequence[Hashable] | None = None,
        align_on: Any = None,
        n_jobs: int | None = None,
        verbose: Any = None,
    ) -> StateTimeCourse | list[StateTimeCourse]:
        """Find the states of recordings.

        Parameters
        ----------
        %(inst)s
        method : "posterior" | "viterbi"
            Probability of each state at each sample given all data, or the one most
            probable path of states (with probabilities of 0 and 1).
        %(reject_by_annotation)s
        %(sfreq)s
        %(group)s
        %(align_on)s
        %(n_jobs)s
        %(verbose)s

        Returns
        -------
        states : StateTimeCourse | list of StateTimeCourse
            The states on each recording's own time grid; for epochs, with an axis for the
            epochs. A list if ``inst`` is a list, a folder, a pattern or PreparedData.

        Raises
        ------
        ValueError
            If a recording lacks a channel the model was trained on, or cannot be prepared.
        """
        check_option(method, "method", ("posterior", "viterbi"))
        options = Options(reject_by_annotation, sfreq, n_jobs, group, align_on)
        prepared = features_for(self, inst, options)
        states = [self._states_of(prepared, i, method == "viterbi") for i in range(len(prepared))]
        several = is_several(inst) or isinstance(inst, PreparedData)
        return states if several else states[0]

    @verbose
    @fill_doc
    def free_energy(
        self,
        inst: Any,
        *,
        reject_by_annotation: bool = True,
        sfreq: float | None = None,
        group: Sequence[Hashable] | None = None,
        align_on: Any = None,
        n_jobs: int | None = None,
        verbose: Any = None,
    ) -> float:
        """Compute the free energy of recordings under the model.

        With parameters as point estimates and the exact posterior of the states this is
        minus the log evidence.

        Parameters
        ----------
        %(inst)s
        %(reject_by_annotation)s
        %(sfreq)s
        %(group)s
        %(align_on)s
        %(n_jobs)s
        %(verbose)s

        Returns
        -------
        free_energy : float
            Nats per sample, over all samples of all recordings; lower is better.

        Notes
        -----
        Computed in float64. ``free_energy_`` comes from training, whose products are in float32,
        and differs by rounding, some 1e-7 of its size. A step or start whose probability is below
        1e-140 counts as that, so data that no path can explain have a value too.
        """
        options = Options(reject_by_annotation, sfreq, n_jobs, group, align_on)
        prepared = features_for(self, inst, options)
        evidence = sum(
            self._evidence(prepared.data[i], time_map)
            for i, time_map in enumerate(prepared.time_maps)
        )
        return -evidence / prepared.n_samples

    @verbose
    @fill_doc
    def score(
        self,
        inst: Any,
        *,
        reject_by_annotation: bool = True,
        sfreq: float | None = None,
        group: Sequence[Hashable] | None = None,
        align_on: Any = None,
        n_jobs: int | None = None,
        verbose: Any = None,
    ) -> float:
        """Compute the log evidence of recordings under the model, per sample.

        Parameters
        ----------
        %(inst)s
        %(reject_by_annotation)s
        %(sfreq)s
        %(group)s
        %(align_on)s
        %(n_jobs)s
        %(verbose)s

        Returns
        -------
        score : float
            Nats per sample; higher is better. Minus the free energy.
        """
        return -self.free_energy(
            inst,
            reject_by_annotation=reject_by_annotation,
            sfreq=sfreq,
            group=group,
            align_on=align_on,
            n_jobs=n_jobs,
        )

    @verbose
    @fill_doc
    def dual_estimate(
        self,
        inst: Any,
        *,
        reject_by_annotation: bool = True,
        sfreq: float | None = None,
        group: Sequence[Hashable] | None = None,
        align_on: Any = None,
        n_jobs: int | None = None,
        verbose: Any = None,
    ) -> DualEstimate | list[DualEstimate]:
        """Estimate each recording's own means and covariances of the states.

        The states of a recording are found with the model as it is. Then means and
        covariances are estimated anew from this recording alone, each sample weighted by the
        probabilities of its states.

        Parameters
        ----------
        %(inst)s
        %(reject_by_annotation)s
        %(sfreq)s
        %(group)s
        %(align_on)s
        %(n_jobs)s
        %(verbose)s

        Returns
        -------
        estimate : DualEstimate | list of DualEstimate
            Means and covariances of the recording. A list if ``inst`` is a list, a
            folder, a pattern or PreparedData.

        Raises
        ------
        ValueError
            If a recording lacks a channel the model was trained on, or cannot be prepared.

        Notes
        -----
        What the model did not learn stays as it is: with zero means covariances are second
        moments about zero. Nothing is added to the diagonal (osl-dynamics adds 1e-5), so the
        covariance of a state with fewer samples than features has no inverse. States that
        are never on are NaN, with a warning.
        """
        options = Options(reject_by_annotation, sfreq, n_jobs, group, align_on)
        prepared = features_for(self, inst, options)
        estimates = [
            self._estimate(
                prepared.data[i],
                time_map,
                prepared.sfreq,
                prepared.alignments[i] if prepared.alignments else None,
            )
            for i, time_map in enumerate(prepared.time_maps)
        ]
        warn_of_unknown(estimates, prepared.names)
        several = is_several(inst) or isinstance(inst, PreparedData)
        return estimates if several else estimates[0]

    @verbose
    @fill_doc
    def agreement(
        self,
        other: "HMM",
        inst: Any,
        *,
        reject_by_annotation: bool = True,
        sfreq: float | None = None,
        group: Sequence[Hashable] | None = None,
        align_on: Any = None,
        n_jobs: int | None = None,
        verbose: Any = None,
    ) -> StateAgreement:
        """Compute how much the states of this model have in common with those of another.

        Parameters
        ----------
        other : HMM
            The other model. Its preparation and number of states may differ.
        %(inst)s
        %(reject_by_annotation)s
        %(sfreq)s
        %(group)s
        %(align_on)s
        %(n_jobs)s
        %(verbose)s

        Returns
        -------
        agreement : StateAgreement
            Which states belong together, and how many samples are alike.

        Raises
        ------
        TypeError
            If ``other`` is no model.
        ValueError
            If the recordings cannot be prepared, or no sample is modeled by both.

        See Also
        --------
        compute_agreement : The same of states that were found before.
        compute_consensus : What more than two models have in common.
        match_states : The order of states alone.
        """
        if not isinstance(other, HMM):
            raise TypeError(
                "other must be a model, as fit_hmm and read_hmm give, got "
                f"{type(other).__name__}; compare states with compute_agreement"
            )
        options = Options(reject_by_annotation, sfreq, n_jobs, group, align_on)
        return compute_agreement(*predictions([self, other], inst, options))

    @verbose
    @fill_doc
    def compare_to_reference(
        self,
        inst: Any,
        *,
        reject_by_annotation: bool = True,
        sfreq: float | None = None,
        group: Sequence[Hashable] | None = None,
        align_on: Any = None,
        n_jobs: int | None = None,
        verbose: Any = None,
    ) -> ReferenceComparison:
        """Find where recordings fall among those a published model was trained on.

        Parameters
        ----------
        %(inst)s
        %(reject_by_annotation)s
        %(sfreq)s
        %(group)s
        %(align_on)s
        %(n_jobs)s
        %(verbose)s

        Returns
        -------
        comparison : ReferenceComparison
            The free energy of each recording, its percentile and z-score among the training
            recordings, and a line on what to make of it.

        Raises
        ------
        ValueError
            If the model has no reference, or a recording cannot be prepared.

        See Also
        --------
        mne_hmm.datasets.fetch_canonical_hmm : Fetches models with a reference.

        Notes
        -----
        Both are free energies in nats per sample at the exact posterior, which is minus the log
        evidence. That of the published models is osl-dynamics', which cuts recordings into windows
        of 400 samples, each with a start of its own. Here nothing is cut, which on samples drawn
        from the 8-state model of 38 parcels comes out 0.003 lower; the published values of
        recordings range over twelve nats.
        """
        if self.reference is None:
            raise ValueError(
                "this model has no reference: the free energies of single training recordings "
                "come with published models (mne_hmm.datasets.fetch_canonical_hmm); for your own, "
                "compare hmm.free_energy(recording) with those of the training recordings"
            )
        options = Options(reject_by_annotation, sfreq, n_jobs, group, align_on)
        prepared = features_for(self, inst, options)
        values = []
        for i, time_map in enumerate(prepared.time_maps):
            features = prepared.data[i]
            values.append(-self._evidence(features, time_map) / len(features))
        return self.reference.compare(np.array(values), prepared.names)

    @verbose
    @fill_doc
    def online(
        self,
        info: mne.Info,
        *,
        calibration: Any = None,
        lag: float = 0.1,
        phase: str = "minimum",
        reject_by_annotation: bool = True,
        verbose: Any = None,
    ) -> OnlineDecoder:
        """Find states as samples arrive.

        Parameters
        ----------
        info : mne.Info
            Channels and sampling rate of the stream, such as ``raw.info`` or ``stream.info``. The
            model's channels are found by their names; there may be others.
        calibration : Raw | array, shape (n_channels, n_times) | path-like | None
            A recording of the same person and set-up, a minute or more, from which means and
            standard deviations are taken and, where the preparation aligns recordings, the signs of
            channels or the map to the mean covariance: a stream does not know its own before it is
            over. An array has the channels of ``info``. None if the model's preparation neither
            standardizes nor aligns.
        lag : float
            Seconds that are waited for before the state of a sample is told, which makes it surer
            (fixed-lag smoothing); rounded to whole samples of the features. With 0 only what came
            before counts.
        phase : "minimum" | "zero"
            The filter is causal and of minimum phase, with the magnitude of the preparation's, or
            it is the preparation's own, which is symmetric, so that half its length has to be
            waited for (1.65 s for a high-pass of 1 Hz).
        %(reject_by_annotation)s
        %(verbose)s

        Returns
        -------
        decoder : OnlineDecoder
            Takes blocks of samples and gives probabilities of states.

        Raises
        ------
        TypeError
            If ``info`` is no :class:`mne.Info`.
        ValueError
            If channels are missing or marked as bad, the rate cannot be changed to the model's, a
            calibration is missing or cannot be prepared, or the preparation takes envelopes.

        See Also
        --------
        decode_stream : Takes the blocks from a stream of mne_lsl.
        HMM.predict : Finds states of whole recordings.

        Notes
        -----
        A block goes through these steps. Each has a delay that is known, ``decoder.delays``:

        - The filter. All channels go through the same one, so its phase cancels in covariances of
          channels and lags, which are what states of embedded data are made of; its magnitude is
          the preparation's. Its delay depends on the frequency. Times are corrected for the median
          over the pass band (about 20 ms for 1-45 Hz); ``decoder.group_delay`` has them all.
        - The change of rate, in the same product, by a symmetric filter as short as the pass band
          allows; none if the rate is a multiple of the model's.
        - Z-scores with the statistics of the calibration, signs or the map of an alignment, lags
          (half of them lie ahead), components. The map is that of
          ``hmm.predict(recording, align_on=calibration)``.
        - The forward recursion, and the samples of ``lag`` that come after, both by products of
          pairs of steps :footcite:`SarkkaGarciaFernandez2021`.

        The result does not depend on how samples are cut into blocks. TensorFlow is not needed.
        Just after the start the filter does not know what was before; the stream is taken to have
        stood at its first value.

        References
        ----------
        .. footbibliography::

        Examples
        --------
        >>> import mne_hmm
        >>> raw, _ = mne_hmm.simulate_raw(3, n_channels=4, duration=30., random_state=0)
        >>> hmm = mne_hmm.fit_hmm(raw, 3, n_init=1, refine=False, random_state=0, verbose=False)
        >>> decoder = hmm.online(raw.info, calibration=raw, lag=0.08)
        >>> round(decoder.delay, 3)
        0.125
        >>> block = raw.get_data(stop=500)
        >>> decoder.process(block[:, :480])
        OnlineStates: 446 samples from 0.011 to 1.791 s
        >>> decoder.process(block[:, 480:])
        OnlineStates: 20 samples from 1.795 to 1.871 s
        """
        return OnlineDecoder(
            self,
            info,
            calibration=calibration,
            lag=lag,
            phase=phase,
            reject_by_annotation=reject_by_annotation,
        )

    def _evidence(self, features, time_map):
        """Log evidence of a recording, in nats."""
        return float(self._infer(features, time_map).log_evidence.sum())

    def _estimate(self, features, time_map, sfreq, alignment):
        probabilities = self._infer(features, time_map).probabilities
        return estimate_recording(self, features, probabilities, sfreq, alignment)

    def _infer(self, features, time_map, viterbi=False):
        from ..engine import Parameters, Samples, infer, most_probable_path

        samples = Samples([features], [chain_lengths(time_map)])
        parameters = Parameters(
            self.initial_probs_, self.transition_matrix_, self.means_, self.covariances_
        )
        find = most_probable_path if viterbi else infer
        result: Any = find(samples, parameters, covariance_type=self.learned.covariance_type)
        evidence = result.log_probability if viterbi else result.log_evidence
        if not np.isfinite(evidence).all():
            raise ValueError(
                f"the features, up to {np.abs(features).max():.3g}, are so far from all states of "
                "the model that no state can be told from another (variances of its features are "
                f"up to {np.einsum('kii->ki', self.covariances_).max():.3g}); give recordings in "
                "the unit of those the model was trained on"
            )
        return result

    def _states_of(self, prepared, index, viterbi):
        time_map, names = prepared.time_maps[index], self.state_names
        ch_names = self.preparation_.ch_names_
        result = self._infer(prepared.data[index], time_map, viterbi)
        if viterbi:
            return StateTimeCourse.from_labels(result.labels, time_map, names, ch_names)
        probabilities = result.probabilities
        labels = probabilities.argmax(1)
        return StateTimeCourse.from_rows(probabilities, labels, time_map, names, ch_names)

    def sample(self, n_samples: int, random_state: Any = None) -> tuple[np.ndarray, np.ndarray]:
        """Draw features and states from the model.

        Parameters
        ----------
        n_samples : int
            Number of samples.
        random_state : int | numpy.random.Generator | None
            Seed.

        Returns
        -------
        features : array, shape (n_samples, n_features)
            Samples of the features.
        labels : array of int, shape (n_samples,)
            Their states.
        """
        from ..engine import sample_states

        n_samples = check_number(
            n_samples, "n_samples", rule="a whole number ≥ 1", low=1, integer=True
        )
        rng = check_random_state(random_state)
        labels = sample_states(n_samples, self.initial_probs_, self.transition_matrix_, rng)
        return draw_features(self, labels, rng), labels

    # Order, names, copies

    def reorder_states(self, order: Sequence[int]) -> "HMM":
        """Put the states in another order.

        Parameters
        ----------
        order : sequence of int
            ``order[i]`` is the present number of what becomes state ``i``.

        Returns
        -------
        hmm : HMM
            A new model. States without a name of their own are named by their new number.
        """
        rule = f"a sequence with each state from 0 to {self.n_states - 1} once"
        if isinstance(order, (str, dict)) or not isinstance(order, Iterable):
            raise TypeError(f"order must be {rule}, got {order!r} of type {type(order).__name__}")
        order = [
            check_number(state, f"order[{i}]", rule="a whole number", integer=True)
            for i, state in enumerate(order)
        ]
        if sorted(order) != list(range(self.n_states)):
            raise ValueError(f"order must be {rule}, got {order}")
        new = self.copy()
        new.initial_probs_ = self.initial_probs_[order]
        new.transition_matrix_ = self.transition_matrix_[np.ix_(order, order)]
        new.means_, new.covariances_ = self.means_[order], self.covariances_[order]
        names = [self.state_names[state] for state in order]
        default = default_state_names(self.n_states)
        final = [default[i] if name in default else name for i, name in enumerate(names)]
        new._set_names(dict(zip(names, final, strict=True)), final)
        return new

    def rename_states(self, names: Sequence[str] | dict[str, str]) -> "HMM":
        """Give the states names.

        Parameters
        ----------
        names : sequence of str | dict
            One name per state, or new names by present ones.

        Returns
        -------
        hmm : HMM
            A new model, whose annotations bear the new names.
        """
        if isinstance(names, dict):
            unknown = [name for name in names if name not in self.state_names]
            if unknown:
                raise ValueError(
                    f"names: there is no state {listed(unknown)}; the states are "
                    f"{listed(self.state_names, 30)}"
                )
            names = [names.get(name, name) for name in self.state_names]
        if isinstance(names, str) or not isinstance(names, Iterable):
            raise TypeError(
                "names must be a sequence with a name per state, or a dictionary of new names by "
                f"present ones, got {names!r} of type {type(names).__name__}"
            )
        names = list(names)
        wrong = [name for name in names if not isinstance(name, str) or not name]
        if len(names) != self.n_states or wrong or len(set(names)) < len(names):
            raise ValueError(
                f"names must be {self.n_states} different names, one per state, got {names}"
            )
        new = self.copy()
        new._set_names(dict(zip(self.state_names, names, strict=True)), names)
        return new

    def _set_names(self, mapping, names):
        mapping = {PREFIX + old: PREFIX + name for old, name in mapping.items()}
        for annotations in self.annotations_:
            annotations.rename({k: v for k, v in mapping.items() if k in annotations.description})
        self.state_names = tuple(names)

    def copy(self) -> "HMM":
        """Copy the model.

        Returns
        -------
        hmm : HMM
            A copy that shares nothing that can be changed.
        """
        return copy.deepcopy(self)

    # Reports

    def _table(self):
        """Parameters with their shapes, counts, and whether they were learned."""
        k, d = self.n_states, self.n_features
        full = self.learned.covariance_type == "full"
        return [
            ("initial_probs", (k,), k - 1, self.learned.transitions),
            ("transition_matrix", (k, k), k * (k - 1), self.learned.transitions),
            ("means", (k, d), k * d, self.learned.means),
            (
                "covariances",
                (k, d, d),
                k * (d * (d + 1) // 2 if full else d),
                self.learned.covariances,
            ),
        ]

    def summary(self) -> None:
        """Print the parameters with shapes, free numbers, and whether they were learned."""
        rows = [
            (name, str(shape), f"{count:,}" if learned else "0", "yes" if learned else "no")
            for name, shape, count, learned in self._table()
        ]
        head = ("parameter", "shape", "free numbers", "learned")
        widths = [max(len(row[i]) for row in (head, *rows)) for i in range(4)]

        def line(row):
            cells = zip(row, widths, strict=True)
            left = [cell.ljust(w) if i < 2 else cell.rjust(w) for i, (cell, w) in enumerate(cells)]
            return "  ".join(left)

        rule = "-" * len(line(head))
        lines = [f"HMM with {plural(self.n_states, 'state')}", rule, line(head), rule]
        lines += [line(row) for row in rows]
        lines += [rule, f"free numbers learned: {self.n_parameters:,}"]
        if not np.isnan(self.explained_by_recording_):
            share = f"{100 * self.explained_by_recording_:.0f} %"
            lines.append(f"variance of state occupancy explained by recording: {share}")
        print("\n".join(lines))  # noqa: T201  (what the method is for)

    def _facts(self):
        p = self.preparation_
        bands = (p.l_freq, p.h_freq)
        band = (
            "none"
            if bands == (None, None)
            else " - ".join("…" if b is None else f"{b:g}" for b in bands) + " Hz"
        )
        if p.band_ is not None:
            band += f" (trained on data filtered to {p.band_[0]:g} - {p.band_[1]:g} Hz before)"
        n_updates = max(len(self.history_.get("free_energy", [])) - 1, 0)
        channels = plural(len(p.ch_names_), "channel")
        settled = "converged" if self.converged_ else "not converged"
        return [
            ("States", f"{self.n_states} ({listed(self.state_names)})"),
            (
                "Features",
                f"{self.n_features} of {channels} × {plural(p.n_embeddings, 'lag')}",
            ),
            ("Sampling rate", f"{p.sfreq_:g} Hz"),
            ("Filter", band),
            ("Free energy", f"{self.free_energy_:.4f} nats per sample"),
            (
                "Training",
                f"{plural(n_updates, 'update')}, {settled}" if self.history_ else "elsewhere",
            ),
            ("Recordings", self._recordings()),
        ]

    def _recordings(self):
        """Tell of the recordings of the training."""
        words = [f"{len(self.annotations_)}" if self.annotations_ else "unknown here"]
        if self.preparation_.aligns:
            words.append(f"aligned ({self.preparation_.align} mean)")
        if not np.isnan(self.explained_by_recording_):
            share = f"{100 * self.explained_by_recording_:.0f} %"
            words.append(f"{share} of the variance of state occupancy explained by recording")
        return ", ".join(words)

    def __str__(self):
        facts = self._facts()
        width = max(len(name) for name, _ in facts)
        return "\n".join(["HMM", *(f"  {name.lower():{width}s}  {value}" for name, value in facts)])

    __repr__ = __str__

    def _repr_html_(self):
        rows = "".join(
            f"<tr><th style='text-align:left'>{html.escape(name)}</th>"
            f"<td style='text-align:left'>{html.escape(value)}</td></tr>"
            for name, value in self._facts()
        )
        return f"<table class='mne-hmm'><caption>HMM</caption><tbody>{rows}</tbody></table>"

    def plot_history(self, *, axes=None, show=True):
        """Plot the free energy over training.

        Parameters
        ----------
        axes : matplotlib.axes.Axes | None
            Where to plot. None makes a new figure.
        show : bool
            Whether to show the figure.

        Returns
        -------
        fig : matplotlib.figure.Figure
            The figure.
        """
        from ..viz import plot_history

        return plot_history(self, axes=axes, show=show)

    def plot_transition_matrix(self, *, axes=None, show=True):
        """Plot which state comes next when one is left, and how long each lasts.

        Parameters
        ----------
        axes : matplotlib.axes.Axes | None
            Where to plot. None makes a new figure.
        show : bool
            Whether to show the figure.

        Returns
        -------
        fig : matplotlib.figure.Figure
            The figure.
        """
        from ..viz import plot_transition_matrix

        return plot_transition_matrix(self, axes=axes, show=show)

    def plot_transition_graph(self, *, axes=None, show=True):
        """Plot the states on a circle, with arrows to those that come next.

        Parameters
        ----------
        axes : matplotlib.axes.Axes | None
            Where to plot. None makes a new figure.
        show : bool
            Whether to show the figure.

        Returns
        -------
        fig : matplotlib.figure.Figure
            The figure.
        """
        from ..viz import plot_transition_graph

        return plot_transition_graph(self, axes=axes, show=show)

    def plot_covariances(self, *, kind="covariance", space="features", axes=None, show=True):
        """Plot the covariances of the states.

        Parameters
        ----------
        kind : "covariance" | "correlation"
            What to plot.
        space : "features" | "channels"
            Whether to plot the features, or the channels they were made of, at zero lag.
        axes : array of matplotlib.axes.Axes | None
            Where to plot, one for each state. None makes a new figure.
        show : bool
            Whether to show the figure.

        Returns
        -------
        fig : matplotlib.figure.Figure
            The figure.
        """
        from ..viz import plot_covariances

        return plot_covariances(self, kind=kind, space=space, axes=axes, show=show)

    def report(self, inst: Any, *, title: str | None = None, **options: Any) -> "mne.Report":
        """Make a report of the model and the states of recordings.

        Parameters
        ----------
        inst : object
            The recordings, as for `fit_hmm`, but no PreparedData.
        title : str | None
            Title of the report.
        **options : dict
            Further arguments of :func:`add_hmm_to_report`, such as ``names`` and ``n_jobs``.

        Returns
        -------
        report : mne.Report
            The report; ``report.save("report.html")`` writes it.

        See Also
        --------
        add_hmm_to_report : Adds the same to a report that is there.
        """
        from ..report import add_hmm_to_report

        report = mne.Report(title=title or "Hidden Markov model", verbose="ERROR")
        add_hmm_to_report(report, self, inst, **options)
        return report

    # The file

    def save(self, fname: Any, overwrite: bool = False) -> None:
        """Write the model to an HDF5 file.

        The file appears whole or not at all.

        Parameters
        ----------
        fname : path-like
            Name of the file; ends in ``.h5`` or ``.hdf5``.
        overwrite : bool
            Whether to replace a file that exists.

        Raises
        ------
        FileExistsError
            If the file exists and ``overwrite`` is False.
        OSError
            If it cannot be written. What was there before stays.
        """
        path = check_target(fname, overwrite, (".h5", ".hdf5"))
        write_model(path, self, overwrite)


def read_hmm(fname: Any) -> HMM:
    """Read a model from a file.

    Parameters
    ----------
    fname : path-like
        Name of the file, written by :meth:`HMM.save`.

    Returns
    -------
    hmm : HMM
        The model.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    OSError
        If the file is cut off, damaged, or not HDF5, or a folder.
    ValueError
        If it holds something else, or was written by a newer version.

    See Also
    --------
    read_osl_hmm : Reads a model of osl-dynamics.
    """
    return HMM(**read_model(fname))


class Options(NamedTuple):
    """How recordings are prepared for prediction, as given to many functions."""

    reject_by_annotation: bool = True
    sfreq: float | None = None
    n_jobs: int | None = None
    group: Any = None
    align_on: Any = None


def features_for(hmm: HMM, inst: Any, options: Options) -> PreparedData:
    """Prepare recordings as a model needs them."""
    prepared = as_prepared(inst)
    if prepared is None:
        return prepare(
            with_parcels(inst, hmm.atlas_arguments, remembered=True, n_jobs=options.n_jobs),
            hmm.preparation_,
            **options._asdict(),
        )
    for name in ("group", "align_on"):
        if getattr(options, name) is not None:
            raise ValueError(
                f"{name} cannot be given with PreparedData, which are aligned already; "
                f"give it to prepare(recordings, hmm.preparation_, {name}=...)"
            )
    if not same_features(hmm.preparation_, prepared.preparation):
        raise ValueError(
            "these data were prepared otherwise than the model's own "
            f"({prepared.n_features} features against {hmm.n_features}, or other channels, "
            "settings, rate or components); use mne_hmm.prepare(recordings, hmm.preparation_)"
        )
    return prepared


def predictions(hmms: Sequence[HMM], inst: Any, options: Options) -> list[Any]:
    """Find the states of recordings by several models, preparing once if features are the same."""
    first = hmms[0]
    if all(same_features(hmm.preparation_, first.preparation_) for hmm in hmms[1:]):
        prepared = features_for(first, inst, options)
        return [hmm.predict(prepared) for hmm in hmms]
    if not any(hmm.preparation_.aligns for hmm in hmms):
        return [hmm.predict(inst, **options._asdict()) for hmm in hmms]
    alone = options._replace(group=None, align_on=None)
    each = [options if hmm.preparation_.aligns else alone for hmm in hmms]
    return [hmm.predict(inst, **own._asdict()) for hmm, own in zip(hmms, each, strict=True)]


def draw_features(hmm: HMM, labels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Draw features of a model, given its states.

    Shapes: ``labels`` (n_samples,); returns ``features`` (n_samples, n_features).
    """
    features = rng.standard_normal((len(labels), hmm.n_features))
    for state in range(hmm.n_states):
        chosen = labels == state
        factor = np.linalg.cholesky(hmm.covariances_[state])
        features[chosen] = features[chosen] @ factor.T + hmm.means_[state]
    return features


def default_state_names(n_states: int) -> tuple[str, ...]:
    """Names of states nobody has named."""
    return tuple(f"state_{k}" for k in range(n_states))
