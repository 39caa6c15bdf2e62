"""Parameter texts that appear in more than one docstring."""

from mne.utils.docs import docdict as mne_docdict

_docdict = {key: mne_docdict[key] for key in ("verbose", "n_jobs", "overwrite")}

_docdict["inst"] = """
inst : Raw | Epochs | array, shape (n_channels, n_times) | path-like | PreparedData | list of these
    The recordings. One entry of a list is one recording. Arrays need ``sfreq``; a path
    is anything :func:`mne.io.read_raw` reads, a ``-epo.fif`` file of epochs, or a ``.npy``
    file that holds an array. Each epoch is a span of its own, which filters, embedding and
    Markov chains do not cross; bad epochs are dropped, as by ``epochs.drop_bad()``.
""".strip()

_docdict["inst_to_prepare"] = _docdict["inst"].replace("PreparedData | ", "")

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
    Sampling rate of arrays in hertz; needed for arrays, wrong for anything else.
""".strip()

_docdict["random_state"] = """
random_state : int | numpy.random.Generator | None
    Seed of all randomness. The same seed gives the same result, to the last bit, on the
    same machine and with the same number of threads. None draws a new seed.
""".strip()


def fill_doc(obj):
    """Put the shared parameter texts into a docstring."""
    lines = obj.__doc__.splitlines()
    indents = [len(line) - len(line.lstrip()) for line in lines[1:] if line.strip()]
    indent = " " * min(indents, default=0)
    texts = {
        key: text.strip().replace("\n", "\n" + indent).replace("\n" + indent + "\n", "\n\n")
        for key, text in _docdict.items()
    }
    obj.__doc__ = obj.__doc__ % texts
    return obj
