"""Parameter texts that appear in more than one docstring."""

from typing import TypeVar

from mne.utils.docs import docdict as mne_docdict

# A function or class.
T = TypeVar("T")

_docdict = {key: mne_docdict[key] for key in ("verbose", "n_jobs", "overwrite")}

_docdict["inst"] = """
inst : Raw | Epochs | array, shape (n_channels, n_times) | path-like | PreparedData | list of these
    The recordings. One entry of a list is one recording. A path is anything
    :func:`mne.io.read_raw` reads, a ``-epo.fif`` file of epochs, a file that holds one array
    (``.npy``, ``.npz``, ``.mat``, ``.csv``, ``.tsv`` or ``.txt``), or a BIDSPath, as
    `find_bids_recordings` gives them. A folder or a pattern such as
    ``"data/*.npy"`` stands for its files, all of one kind, in natural order. Arrays need
    ``sfreq``. In a table whose first row has names, columns are channels; in other files time is
    the axis that is at least 5 times longer than the other and at least 100 long. Each epoch is a
    span of its own, which filters, embedding and Markov chains do not cross; bad epochs are
    dropped, as by ``epochs.drop_bad()``. Source estimates (also ``.stc`` files) and brain images
    (nibabel or NIfTI files) need ``atlas``.
""".strip()

_docdict["inst_to_prepare"] = _docdict["inst"].replace("PreparedData | ", "")

_docdict["atlas"] = """
atlas : list of Label | str | path-like | nibabel image | None
    For source estimates and brain images: the atlas whose parcels are taken, as for
    `parcellate` and `parcellate_nifti`.
src : SourceSpaces | path-like | None
    The source space of source estimates. Sources in a volume need it.
subjects_dir : path-like | None
    The folder of FreeSurfer subjects; None takes MNE-Python's setting.
""".strip()

_docdict["picks"] = """
picks : str | array-like | slice | None
    Channels to use, as everywhere in MNE-Python. None (default) takes the good data
    channels, or the good ``misc`` channels where there are no others: parcel time courses
    are commonly kept as those.
""".strip()

_docdict["reject_by_annotation"] = """
reject_by_annotation : bool
    If True (default), spans annotated as bad (``BAD…``) are left out. Either way the
    recording is cut at its discontinuities (``EDGE…`` and ``BAD_ACQ_SKIP``). Without
    effect on Epochs, which MNE-Python has rejected by annotation already.
""".strip()

_docdict["sfreq"] = """
sfreq : float | None
    Sampling rate of arrays, in memory or in files, in hertz; needed for arrays, wrong for
    anything else. For fMRI it is 1 / TR.
""".strip()

_docdict["group"] = """
group : sequence of hashable | None
    For preparations that align recordings: a label for each, as in ``["anna", "anna", "ben"]``.
    Recordings with the same label are aligned together, by their pooled covariance, so that
    differences between the recordings of one person stay. None (default) aligns each by itself.
""".strip()

_docdict["align_on"] = """
align_on : tuple of float | Raw | array | path-like | list of these | None
    For preparations that align recordings: what their covariances are taken from. None (default)
    is all good spans of the recordings. A tuple ``(tmin, tmax)`` is a period of each, in seconds
    from its first sample, or from the event of epochs, both ends included. Another recording, such
    as of rest before a task, is prepared in the same way. A list has one entry for each recording.
""".strip()

_docdict["random_state"] = """
random_state : int | numpy.random.Generator | None
    Seed of all randomness. The same seed gives the same result, to the last bit, on the
    same machine and with the same number of threads. None draws a new seed.
""".strip()

_docdict["n_folds"] = """
n_folds : int
    Number of folds, at least 2. Folds are of whole recordings where there are as many;
    otherwise all recordings, end to end, are cut into long blocks.
""".strip()

_docdict["gap"] = """
gap : float
    Seconds to leave out of the training data on both sides of a held-out block. At least
    as much is left out as the embedding reaches.
""".strip()

_docdict["model_of_fits"] = """
learn_means : bool | "auto"
    Whether states have means of their own, as for `fit_hmm`.
covariance_type : "full" | "diag"
    Form of the covariances.
n_init : int
    Number of starts of each fit.
""".strip()

_docdict["training_of_fits"] = """
max_iter : int
    Largest number of updates of each fit.
tol : float
    When training stops, as for `fit_hmm`.
priors : Priors | None
    Priors on the parameters, for small data. None is none.
""".strip()

_docdict["n_jobs_of_fits"] = """
n_jobs : int | None
    Number of fits at once, each in a process of its own with TensorFlow and the data in
    its memory. It changes results by no more than rounding does.
""".strip()

_docdict["states"] = """
states : StateTimeCourse | list of StateTimeCourse
    The states, as `HMM.predict` returns them. One entry of a list is one recording.
""".strip()

_docdict["recording_names"] = """
names : sequence of str | None
    Names of the recordings, for the column ``recording``; None numbers them from 0.
""".strip()

_docdict["events"] = """
events : array of int, shape (n_events, 3) | list of array | None
    The events, in samples of the recording as in MNE-Python (``first_samp`` counts), for
    instance from :func:`mne.find_events` or :func:`mne.events_from_annotations`. A list, with
    an array per recording, if ``states`` is a list. None for states of epochs, which bring
    their own.
event_id : dict | None
    Names of the conditions and the numbers of their events, as ``{"left": 1, "right": 2}``.
    None takes all events.
""".strip()

_docdict["window_of_events"] = """
tmin, tmax : float | None
    Start and end of a trial in seconds from the event. None takes -0.5 and 1.0, and of epochs
    all that was modeled.
""".strip()

_docdict["baseline"] = """
baseline : tuple of float | None
    First and last time of the baseline in seconds, the mean of which is taken off each trial;
    None in the tuple is the start or the end of the trial. None takes nothing off.
""".strip()

_docdict["axes"] = """
axes : matplotlib.axes.Axes | None
    Where to plot. None makes a new figure.
""".strip()

_docdict["axes_of_states"] = """
axes : array-like of matplotlib.axes.Axes | None
    Where to plot, one for each state. None makes a new figure.
""".strip()

_docdict["show"] = """
show : bool
    Whether to show the figure.
""".strip()

_docdict["fig"] = """
fig : matplotlib.figure.Figure
    The figure.
""".strip()


def fill_doc(obj: T) -> T:
    """Put the shared parameter texts into a docstring."""
    doc = obj.__doc__
    assert doc is not None
    lines = doc.splitlines()
    indents = [len(line) - len(line.lstrip()) for line in lines[1:] if line.strip()]
    indent = " " * min(indents, default=0)
    texts = {
        key: text.strip().replace("\n", "\n" + indent).replace("\n" + indent + "\n", "\n\n")
        for key, text in _docdict.items()
    }
    obj.__doc__ = doc % texts
    return obj
