"""What may be believed of a model's parameters before any data."""

from dataclasses import dataclass, fields
from typing import Any

from .._utils.checks import check_number
from .._utils.docs import fill_doc

AUTO = "auto"


@fill_doc
@dataclass(frozen=True)
class Priors:
    """Priors on the parameters, for data that are too small to say everything.

    All are off by default. Each is given as a number of samples that a state is thought to
    have had before the data; ``"auto"`` takes a weak number that fits the size of the problem.
    Free energies of models with priors include them, and compare among models with the same
    priors only.

    Parameters
    ----------
    initial : float | "auto" | None
        Dirichlet prior on initial probabilities: so many starts in each state, that is a
        concentration of 1 more. ``"auto"`` is 1.
    transitions : float | "auto" | None
        Dirichlet prior on each row of the transition matrix: so many steps from each state, shared
        out as before anything has been learned, 0.9 of them onto itself. ``"auto"`` is one
        second of steps, the sampling rate.
    covariances : float | "auto" | None
        Inverse Wishart prior on covariances: so many samples with the pooled covariance of
        the data, that is ``covariances - n_features - 1`` degrees of freedom and a mode at the
        pooled covariance. ``"auto"`` is the number of features.
    means : float | "auto" | None
        Normal prior on means, given the state's covariance: so many samples at the pooled mean.
        ``"auto"`` is 1. Has no effect where means are not learned.

    Raises
    ------
    ValueError
        If a number is negative.

    See Also
    --------
    fit_hmm : Takes them as ``priors``.

    Notes
    -----
    Updates with these priors are those of Gauvain and Lee :footcite:`GauvainLee1994`. They
    maximize the posterior density of the parameters, so the free energy still never rises.

    References
    ----------
    .. footbibliography::

    Examples
    --------
    >>> import mne_hmm
    >>> mne_hmm.Priors(covariances="auto")
    Priors(initial=None, transitions=None, covariances='auto', means=None)
    """

    initial: float | str | None = None
    transitions: float | str | None = None
    covariances: float | str | None = None
    means: float | str | None = None

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if value is None or value == AUTO:
                continue
            rule = 'None, "auto" or a number of samples ≥ 0'
            check_number(value, field.name, rule=rule, low=0)

    def strengths(self, n_features: int, sfreq: float) -> dict[str, Any]:
        """Get the numbers of samples for a problem of some size.

        Parameters
        ----------
        n_features : int
            Number of features.
        sfreq : float
            Their sampling rate in hertz.

        Returns
        -------
        strengths : dict
            A number for each prior, 0 where it is off.
        """
        auto = {"initial": 1.0, "transitions": sfreq, "covariances": n_features, "means": 1.0}
        out = {}
        for field in fields(self):
            value = getattr(self, field.name)
            out[field.name] = float(auto[field.name] if value == AUTO else value or 0.0)
        return out
