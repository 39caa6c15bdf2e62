"""What a model says of recordings: the methods of `HMM` that look at data."""

from collections.abc import Hashable, Sequence
from typing import Any

import mne
import numpy as np
from mne.utils import verbose

from .._utils.checks import check_option
from .._utils.docs import fill_doc
from .._utils.typing import RecordingLike, Verbose
from ..io.inputs import is_several
from ..io.parcel_inputs import AtlasArguments
from ..online.decoder import OnlineDecoder
from ..preparation.covariance_alignment import Alignment
from ..preparation.prepared_data import PreparedData
from ..preparation.settings import FittedPreparation
from ..states.agreement import StateAgreement, compute_agreement
from ..states.time_course import StateTimeCourse
from .dual_estimate import DualEstimate, estimate_recording, warn_never_on
from .file import Learned
from .inference import (
    Options,
    features_for,
    infer_posterior,
    log_evidence,
    predictions,
    state_time_course,
)
from .training_reference import Reference, ReferenceComparison


class InferenceMixin:
    """The states of recordings under a model, and how well it describes them."""

    initial_probs_: np.ndarray
    transition_matrix_: np.ndarray
    means_: np.ndarray
    covariances_: np.ndarray
    preparation_: FittedPreparation
    learned: Learned
    history_: dict[str, Any]
    free_energy_: float
    converged_: bool
    annotations_: list[mne.Annotations]
    state_names: tuple[str, ...]
    reference: Reference | None
    alignments_: list[Alignment]
    explained_by_recording_: float
    atlas_arguments: AtlasArguments

    @property
    def n_states(self) -> int:
        """Number of states."""
        return len(self.initial_probs_)

    @property
    def n_features(self) -> int:
        """Number of features."""
        return self.means_.shape[1]

    @verbose
    @fill_doc
    def predict(
        self,
        inst: RecordingLike | Sequence[RecordingLike],
        *,
        method: str = "posterior",
        reject_by_annotation: bool = True,
        sfreq: float | None = None,
        group: Sequence[Hashable] | None = None,
        align_on: Any = None,
        n_jobs: int | None = None,
        verbose: Verbose = None,
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
        states = [state_time_course(self, prepared, i, method) for i in range(len(prepared))]
        return _as_given(states, inst)

    @verbose
    @fill_doc
    def free_energy(
        self,
        inst: RecordingLike | Sequence[RecordingLike],
        *,
        reject_by_annotation: bool = True,
        sfreq: float | None = None,
        group: Sequence[Hashable] | None = None,
        align_on: Any = None,
        n_jobs: int | None = None,
        verbose: Verbose = None,
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
        return -sum(self._log_evidence_by_recording(prepared)) / prepared.n_samples

    @verbose
    @fill_doc
    def score(
        self,
        inst: RecordingLike | Sequence[RecordingLike],
        *,
        reject_by_annotation: bool = True,
        sfreq: float | None = None,
        group: Sequence[Hashable] | None = None,
        align_on: Any = None,
        n_jobs: int | None = None,
        verbose: Verbose = None,
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
        inst: RecordingLike | Sequence[RecordingLike],
        *,
        reject_by_annotation: bool = True,
        sfreq: float | None = None,
        group: Sequence[Hashable] | None = None,
        align_on: Any = None,
        n_jobs: int | None = None,
        verbose: Verbose = None,
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
        estimates = [self._estimate(prepared, i_recording) for i_recording in range(len(prepared))]
        warn_never_on(estimates, prepared.names)
        return _as_given(estimates, inst)

    @verbose
    @fill_doc
    def agreement(
        self,
        other: "InferenceMixin",
        inst: RecordingLike | Sequence[RecordingLike],
        *,
        reject_by_annotation: bool = True,
        sfreq: float | None = None,
        group: Sequence[Hashable] | None = None,
        align_on: Any = None,
        n_jobs: int | None = None,
        verbose: Verbose = None,
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
        if not isinstance(other, InferenceMixin):
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
        inst: RecordingLike | Sequence[RecordingLike],
        *,
        reject_by_annotation: bool = True,
        sfreq: float | None = None,
        group: Sequence[Hashable] | None = None,
        align_on: Any = None,
        n_jobs: int | None = None,
        verbose: Verbose = None,
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
        evidence = self._log_evidence_by_recording(prepared)
        values = [
            -value / time_map.n_rows
            for value, time_map in zip(evidence, prepared.time_maps, strict=True)
        ]
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
        verbose: Verbose = None,
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

    def _estimate(self, prepared: PreparedData, i_recording: int) -> DualEstimate:
        """Estimate one recording; its features are let go of before the next is read."""
        features = prepared.data[i_recording]
        probabilities = infer_posterior(
            self, features, prepared.time_maps[i_recording]
        ).probabilities
        alignment = prepared.alignments[i_recording] if prepared.alignments else None
        return estimate_recording(self, features, probabilities, prepared.sfreq, alignment)

    def _log_evidence_by_recording(self, prepared: PreparedData) -> list[float]:
        """Compute the log evidence of each recording, in nats."""
        return [
            log_evidence(self, prepared.data[i_recording], time_map)
            for i_recording, time_map in enumerate(prepared.time_maps)
        ]


def _as_given(results: list[Any], inst: Any) -> Any:
    """Give a list of results for inputs that stand for several recordings, else the only one."""
    several = is_several(inst) or isinstance(inst, PreparedData)
    return results if several else results[0]
