"""The states of recordings as features for scikit-learn. Needs the extra ``sklearn``.

This module is imported by itself: ``from mne_hmm.sklearn import HMMTransformer``.
"""

import contextlib
from collections.abc import Sequence
from numbers import Number
from typing import Any, Self

import mne
import numpy as np

from ._utils.checks import check_option, import_extra, listed, plural
from ._utils.typing import RandomState, Verbose
from .io.bids import is_bids_path
from .io.parcel_inputs import AtlasArguments
from .model.fit import fit_prepared, prepared_of
from .model.fit_settings import FitSettings, check_n_states
from .model.hmm import HMM
from .model.inference import Options, features_for
from .model.priors import Priors
from .model.recording_features import (
    KINDS,
    METRICS,
    compute_recording_features,
    recording_feature_names,
)
from .preparation.prepared_data import PreparedData
from .preparation.settings import Preparation

import_extra("sklearn.base", "sklearn", "for mne_hmm.sklearn")
from sklearn.base import BaseEstimator, TransformerMixin  # noqa: E402  (said how to get it first)
from sklearn.utils import Tags  # noqa: E402
from sklearn.utils.validation import check_is_fitted, validate_data  # noqa: E402

__all__ = ["HMMTransformer"]

ROW_PER_RECORDING = (
    "a list with an entry per recording, an array (n_recordings, n_channels, n_times), or an array "
    "(n_recordings, n_times) of one channel"
)


class HMMTransformer(TransformerMixin, BaseEstimator):
    """Turn recordings into a row of numbers each, by the states they visit.

    :meth:`fit` trains one model on all recordings it is given, and :meth:`transform` says of each
    recording how long it is in which state, how states follow each other, and in what its own
    states differ from those of the group. In a :class:`~sklearn.pipeline.Pipeline` the model is
    trained on the training recordings of each fold alone.

    Parameters
    ----------
    n_states : int
        Number of states, at least 2.
    hmm : HMM | None
        A model that was trained before, such as a published one. It is taken as it is, with its
        channels and preparation; nothing is trained, and what follows for training is of no
        effect. None trains one.
    features : str | sequence of str
        What to take of each recording: ``"occupancy"``, ``"lifetimes"``, ``"transitions"``,
        ``"covariances"``, or several of these.
    metric : "riemannian" | "log_euclidean"
        How covariances become vectors, in the tangent space at those of the group.
    preparation : Preparation | None
        How recordings become features of the model, as for `mne_hmm.fit_hmm`.
    picks : str | array-like | slice | None
        Channels to use, as for `mne_hmm.fit_hmm`.
    reject_by_annotation : bool
        Whether spans annotated as bad are left out.
    sfreq : float | None
        Sampling rate of arrays in hertz; needed for arrays, wrong for anything else.
    learn_means : bool | "auto"
        Whether states have means of their own, as for `mne_hmm.fit_hmm`.
    covariance_type : "full" | "diag"
        Form of the covariances.
    n_init : int
        Number of starts.
    refine : bool
        Whether to search for the best optimum, as for `mne_hmm.fit_hmm`.
    max_iter : int
        Largest number of updates.
    tol : float
        When training stops, as for `mne_hmm.fit_hmm`.
    priors : Priors | None
        Priors on the parameters, for small data.
    random_state : int | numpy.random.Generator | None
        Seed of the training. A number gives the same features again.
    n_jobs : int | None
        Number of recordings that are filtered side by side.
    verbose : bool | str | int | None
        How much is told meanwhile, as everywhere in MNE-Python.

    Attributes
    ----------
    hmm_ : HMM
        The model.
    features_ : tuple of str
        What is taken of each recording.
    n_iter_ : int
        Number of updates of the training, at least 1.
    n_features_in_ : int
        Number of columns of a two-dimensional array, or of channels of a three-dimensional one.
        Not there for lists of recordings, which may have any length.

    See Also
    --------
    mne_hmm.fit_hmm : Trains the model.
    mne_hmm.contrast_groups : Tests whether groups differ.

    Notes
    -----
    All numbers are finite, whatever a recording visits:

    - ``occupancy`` (n_states): share of the samples in each state.
    - ``lifetimes`` (n_states): mean duration of visits in seconds. Visits that the start or end of
      a span cuts off count only where there are no others. 0 for a state that is never visited.
    - ``transitions`` (n_states * n_states): probability of a step from one state to another, from
      the expected numbers of steps, to which one step from each state by the model's own
      probabilities is added. Those of a state that is never visited are the model's.
    - ``covariances`` (n_states * n_features * (n_features + 1) / 2, or n_states * n_features with
      ``"diag"``): the recording's own covariances (`mne_hmm.HMM.dual_estimate`), mixed with as many
      samples of the model's as there are features, as vectors in the tangent space at the model's
      :footcite:`BarachantEtAl2012`. The length of a vector is the affine-invariant distance from
      the covariance of the model, or the log-Euclidean one (of features in units of their standard
      deviation). They are all 0 for a state that is never visited.

    With the default of 80 components there are 3240 numbers of the covariance of each state, and 48
    others for 6 states; take ``features=("occupancy", "lifetimes")`` where there are few
    recordings, or fewer components. Numbers differ in size: scale them before a classifier.

    Features of recordings that a model was trained on fit it better than those of others, so
    train it in the pipeline, on the recordings of each fold, or on other recordings altogether
    (``hmm=``). A person's recordings belong into one fold, as by
    :class:`~sklearn.model_selection.GroupKFold`.

    A list may hold anything that `mne_hmm.fit_hmm` takes in one, also `mne_hmm.PreparedData` of
    one recording each; source estimates have to be parcels (`mne_hmm.parcellate`). An array of
    three dimensions holds recordings as MNE-Python's ``epochs.get_data()`` does epochs.

    References
    ----------
    .. footbibliography::

    Examples
    --------
    >>> import mne_hmm
    >>> from mne_hmm.sklearn import HMMTransformer
    >>> raws = [
    ...     mne_hmm.simulate_raw(2, n_channels=4, duration=10., random_state=i)[0] for i in (0, 1)
    ... ]
    >>> transformer = HMMTransformer(
    ...     2,
    ...     features=("occupancy", "lifetimes"),
    ...     preparation=mne_hmm.Preparation(n_components=6),
    ...     n_init=1,
    ...     refine=False,
    ...     random_state=0,
    ...     verbose=False,
    ... )
    >>> transformer.fit_transform(raws).shape
    (2, 4)
    >>> transformer.get_feature_names_out().tolist()[:2]
    ['occupancy_state_0', 'occupancy_state_1']
    """

    def __init__(
        self,
        n_states: int = 6,
        *,
        hmm: HMM | None = None,
        features: str | Sequence[str] = KINDS,
        metric: str = "riemannian",
        preparation: Preparation | None = None,
        picks: Any = None,
        reject_by_annotation: bool = True,
        sfreq: float | None = None,
        learn_means: bool | str = FitSettings.learn_means,
        covariance_type: str = FitSettings.covariance_type,
        n_init: int = FitSettings.n_init,
        refine: bool = FitSettings.refine,
        max_iter: int = FitSettings.max_iter,
        tol: float = FitSettings.tol,
        priors: Priors | None = FitSettings.priors,
        random_state: RandomState = None,
        n_jobs: int | None = None,
        verbose: Verbose = None,
    ) -> None:
        self.n_states = n_states
        self.hmm = hmm
        self.features = features
        self.metric = metric
        self.preparation = preparation
        self.picks = picks
        self.reject_by_annotation = reject_by_annotation
        self.sfreq = sfreq
        self.learn_means = learn_means
        self.covariance_type = covariance_type
        self.n_init = n_init
        self.refine = refine
        self.max_iter = max_iter
        self.tol = tol
        self.priors = priors
        self.random_state = random_state
        self.n_jobs = n_jobs
        self.verbose = verbose

    def fit(self, X: Any, y: Any = None) -> Self:
        """Train a model on recordings.

        Parameters
        ----------
        X : list | array, shape (n_recordings, n_channels, n_times) | (n_recordings, n_times)
            The recordings, a row each. A table (n_recordings, n_times) is of one channel.
        y : object
            Not used.

        Returns
        -------
        self : HMMTransformer
            The transformer itself, with its model.
        """
        with _log_level(self.verbose):
            self._fit(X)
        return self

    def fit_transform(self, X: Any, y: Any = None) -> np.ndarray:
        """Train a model on recordings, and compute their features.

        Parameters
        ----------
        X : list | array, shape (n_recordings, n_channels, n_times) | (n_recordings, n_times)
            The recordings, a row each.
        y : object
            Not used.

        Returns
        -------
        features : array, shape (n_recordings, n_features_out)
            The same as by :meth:`fit` and :meth:`transform`, with recordings prepared once.
        """
        with _log_level(self.verbose):
            return self._features_of(self._fit(X))

    def transform(self, X: Any) -> np.ndarray:
        """Compute the features of recordings.

        Parameters
        ----------
        X : list | array, shape (n_recordings, n_channels, n_times) | (n_recordings, n_times)
            The recordings, a row each.

        Returns
        -------
        features : array, shape (n_recordings, n_features_out)
            Finite numbers, a row for each recording.
        """
        check_is_fitted(self, "hmm_")
        recordings = self._recordings(X, reset=False)
        with _log_level(self.verbose):
            return self._features_of(self._prepared_for(self.hmm_, recordings))

    def get_feature_names_out(self, input_features: Sequence[str] | None = None) -> np.ndarray:
        """Get the names of the features.

        Parameters
        ----------
        input_features : array-like of str | None
            Not used, but for its length: names are those of states.

        Returns
        -------
        names : array of str, shape (n_features_out,)
            Names such as ``occupancy_state_0``, ``lifetime_state_0``,
            ``transition_state_0_to_state_1`` and ``covariance_state_0_3_5``, the covariance of the
            model's features 3 and 5.
        """
        check_is_fitted(self, "hmm_")
        n_in = getattr(self, "n_features_in_", None)
        if input_features is not None and n_in is not None and len(input_features) != n_in:
            raise ValueError(
                "input_features should have length equal to number of features "
                f"({n_in}), got {len(input_features)}"
            )
        names_in = getattr(self, "feature_names_in_", None)
        both_named = input_features is not None and names_in is not None
        if both_named and list(input_features) != list(names_in):  # type: ignore[arg-type]
            raise ValueError("input_features is not equal to feature_names_in_")
        return np.array(recording_feature_names(self.hmm_, self.features_), dtype=object)

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.three_d_array = True
        return tags

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "hmm_")

    def _fit(self, X: Any) -> PreparedData:
        """Train the model, and give the recordings as they were prepared for it."""
        features = _check_features(self.features)
        check_option(self.metric, "metric", METRICS)
        recordings = self._recordings(X, reset=True)
        if self.hmm is None:
            n_states = check_n_states(self.n_states)
            settings = FitSettings(
                learn_means=self.learn_means,
                covariance_type=self.covariance_type,
                n_init=self.n_init,
                refine=self.refine,
                max_iter=self.max_iter,
                tol=self.tol,
                priors=self.priors,
            )
            prepared = prepared_of(
                recordings,
                self.preparation,
                self.picks,
                self.reject_by_annotation,
                self.sfreq,
                AtlasArguments(),
                self.n_jobs,
            )
            _check_rows(prepared, recordings)
            hmm = fit_prepared(prepared, n_states, settings, self.random_state)
        else:
            if not isinstance(self.hmm, HMM):
                raise TypeError(
                    "hmm must be a model, as fit_hmm and read_hmm give, or None to train one, got "
                    f"{type(self.hmm).__name__}"
                )
            excess = [n for n in ("preparation", "picks") if getattr(self, n) is not None]
            if excess:
                raise ValueError(
                    f"{listed(excess)} cannot be given with hmm, which has its own; leave them at "
                    "None, or leave hmm out to train one"
                )
            hmm = self.hmm
            prepared = self._prepared_for(hmm, recordings)
        self.hmm_, self.features_ = hmm, features
        self.n_iter_ = max(len(hmm.history_.get("free_energy", ())) - 1, 1)
        return prepared

    def _prepared_for(self, hmm: HMM, recordings: list[Any]) -> PreparedData:
        """Prepare recordings as a model needs them."""
        options = Options(self.reject_by_annotation, self.sfreq, self.n_jobs)
        prepared = features_for(hmm, recordings, options)
        _check_rows(prepared, recordings)
        return prepared

    def _features_of(self, prepared: PreparedData) -> np.ndarray:
        """Compute the features of recordings that are prepared."""
        return compute_recording_features(self.hmm_, prepared, self.features_, self.metric)

    def _recordings(self, X: Any, *, reset: bool) -> list[Any]:
        """Get recordings as a list with one entry per row."""
        if isinstance(X, (mne.io.BaseRaw, mne.BaseEpochs, str)) or is_bids_path(X):
            raise TypeError(
                f"X must be {ROW_PER_RECORDING}, got {type(X).__name__}; put a single recording "
                "into a list, and give epochs, for a row each, as "
                "[epochs[i] for i in range(len(epochs))]"
            )
        if isinstance(X, PreparedData):
            return self._checked_list([X[i] for i in range(len(X))], reset)
        if isinstance(X, np.ndarray) and X.dtype == object and X.ndim == 1:
            X = list(X)
        if isinstance(X, (list, tuple)) and any(_is_recording(entry) for entry in X):
            return self._checked_list(list(X), reset)
        X = validate_data(self, X, reset=reset, dtype=np.float64, allow_nd=True)
        if X.ndim == 2 and X.shape[1] == 1:
            raise ValueError(
                f"X has 1 feature(s) (shape={X.shape}), which makes recordings of one channel and "
                "one sample; a recording has to have several samples"
            )
        if X.ndim > 3:
            raise ValueError(f"X must be {ROW_PER_RECORDING}, got an array of shape {X.shape}")
        return list(X if X.ndim == 3 else X[:, np.newaxis])

    def _checked_list(self, recordings: list[Any], reset: bool) -> list[Any]:
        """Check that no entry stands for several recordings."""
        several = [
            index
            for index, entry in enumerate(recordings)
            if isinstance(entry, PreparedData) and len(entry) != 1
        ]
        if several:
            raise ValueError(
                f"X must hold one recording per entry, but PreparedData {listed(several)} hold "
                "several; give the PreparedData themselves as X, or index them"
            )
        if reset:
            for name in ("n_features_in_", "feature_names_in_"):
                if hasattr(self, name):
                    delattr(self, name)
        return recordings


def _log_level(verbose: Verbose) -> contextlib.AbstractContextManager[Any]:
    """Log as much as ``verbose`` says; None leaves it as it is."""
    return contextlib.nullcontext() if verbose is None else mne.use_log_level(verbose)


def _is_recording(entry: Any) -> bool:
    """Tell recordings from rows of numbers."""
    if isinstance(entry, np.ndarray):
        return entry.ndim == 2
    numbers = (list, tuple, bytes, type(None), Number, np.generic)
    return not isinstance(entry, numbers)


def _check_rows(prepared: PreparedData, recordings: list[Any]) -> None:
    """Check that each entry was one recording, and not a folder of them."""
    if len(prepared) != len(recordings):
        raise ValueError(
            f"X has {plural(len(recordings), 'row')}, but its entries stand for "
            f"{plural(len(prepared), 'recording')}; give each recording as an entry of its own, "
            "not a folder or a pattern"
        )


def _check_features(features: str | Sequence[str]) -> tuple[str, ...]:
    """Get the kinds of features, each once."""
    kinds = (features,) if isinstance(features, str) else tuple(features)
    for kind in kinds:
        check_option(kind, "features", KINDS)
    if not kinds or len(set(kinds)) < len(kinds):
        raise ValueError(
            f"features must be different ones of {listed(map(repr, KINDS))}, got {features!r}"
        )
    return kinds
