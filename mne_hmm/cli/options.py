"""Options of commands: the names of the Python calls, and how text becomes their values."""

import argparse
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple


class Option(NamedTuple):
    """One option, which has the name of a parameter in Python."""

    name: str
    """Name in Python; ``preparation.l_freq`` is a parameter of `Preparation`."""
    convert: Callable[[str], Any] | None
    """Makes a value of text. None is for switches, ``--refine`` and ``--no-refine``."""
    text: str
    """What it says in the help."""
    metavar: str = ""
    """What stands for the value in the help."""
    flags: tuple[str, ...] = ()
    """How it is spelled, where not as the name."""

    @property
    def spellings(self) -> tuple[str, ...]:
        """All ways to spell it, with dashes."""
        return self.flags or ("--" + self.name.rpartition(".")[2].replace("_", "-"),)


def number(text: str) -> float | None:
    """Make a number of text: whole where it is written so; ``none`` is None."""
    if text.lower() == "none":
        return None
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    raise argparse.ArgumentTypeError(f"must be a number or none, got {text!r}")


def number_or_auto(text: str) -> float | str | None:
    """Make a number of text, or leave ``auto`` as it is."""
    if text == "auto":
        return text
    try:
        return number(text)
    except argparse.ArgumentTypeError:
        raise argparse.ArgumentTypeError(f"must be a number, auto or none, got {text!r}") from None


def numbers(text: str) -> list[int]:
    """Make a list of whole numbers of text such as ``4-16`` or ``4,6,8``."""
    out: list[int] = []
    try:
        for part in text.split(","):
            first, _, last = part.partition("-")
            out += range(int(first), int(last or first) + 1)
    except ValueError:
        out = []
    if not out:
        raise argparse.ArgumentTypeError(
            f"must be whole numbers, as in 4-16 or 4,6,8, got {text!r}"
        )
    return out


def words(text: str) -> str | list[str] | None:
    """Make a list of text with commas; one word stays one; ``none`` is None."""
    if text.lower() == "none":
        return None
    parts = names(text)
    return parts if len(parts) > 1 else parts[0]


def names(text: str) -> list[str]:
    """Make a list of text with commas."""
    return [part.strip() for part in text.split(",")]


def period_or_file(text: str) -> str | list[float] | None:
    """Make a period of text such as ``0,60``; other text is the name of a file."""
    if text.lower() == "none":
        return None
    try:
        tmin, tmax = map(float, text.split(","))
    except ValueError:
        return text
    return [tmin, tmax]


def word(text: str) -> str | None:
    """Leave text as it is; ``none`` is None."""
    return None if text.lower() == "none" else text


def yes_no_auto(text: str) -> bool | str:
    """Make True of ``yes``, False of ``no``, and leave ``auto``."""
    values: dict[str, bool | str] = {"yes": True, "true": True, "no": False, "false": False}
    values["auto"] = "auto"
    if text.lower() not in values:
        raise argparse.ArgumentTypeError(f"must be yes, no or auto, got {text!r}")
    return values[text.lower()]


RECORDINGS = (
    Option("picks", words, "channels or types of channels, with commas between", "NAMES"),
    Option("reject_by_annotation", None, "leave out what is annotated as bad (default: yes)"),
    Option("sfreq", number, "sampling rate of files of arrays, in hertz", "HZ"),
    Option("atlas", word, "atlas, for source estimates and brain images", "ATLAS"),
    Option("src", word, "source space of source estimates", "FILE"),
    Option("subjects_dir", word, "folder of FreeSurfer subjects", "DIR"),
    Option(
        "group",
        names,
        "label of each recording, with commas between; with --align those with one label are "
        "aligned together",
        "LABELS",
    ),
)
PREPARATION = (
    Option(
        "preparation",
        word,
        "where the settings below start: time_delay_embedded (default), amplitude_envelope, "
        "standardized or as_is",
        "KIND",
    ),
    Option("preparation.l_freq", number, "lower edge of the pass band in hertz (1)", "HZ"),
    Option("preparation.h_freq", number, "upper edge of the pass band in hertz (45)", "HZ"),
    Option(
        "preparation.sfreq",
        number,
        "sampling rate of the features in hertz (250)",
        "HZ",
        ("--preparation-sfreq",),
    ),
    Option(
        "preparation.align",
        word,
        "align recordings to the mean of their covariances: euclidean or riemannian (none)",
        "MEAN",
    ),
    Option("preparation.envelope", None, "take the amplitude envelope (default: no)"),
    Option("preparation.n_embeddings", number, "lags of the time-delay embedding (15)", "N"),
    Option("preparation.n_components", number_or_auto, "principal components (auto)", "N"),
    Option("preparation.whiten", None, "give components unit variance (default: no)"),
    Option("preparation.standardize", None, "z-score channels and features (default: yes)"),
)
TRAINING = (
    Option("learn_means", yes_no_auto, "whether states have means: yes, no or auto", "WHETHER"),
    Option("learn_covariances", None, "learn covariances (default: yes)"),
    Option("learn_transitions", None, "learn transitions (default: yes)"),
    Option("covariance_type", word, "full (default) or diag", "TYPE"),
    Option("init", word, "kmeans (default), random, subset, or the file of a model", "START"),
    Option("n_init", number, "number of starts (3)", "N"),
    Option("refine", None, "search for the best optimum (default: yes)"),
    Option("max_iter", number, "largest number of updates (100)", "N"),
    Option("tol", number, "when to stop (1e-4)", "SHARE"),
    Option("sequence_length", number, "samples in a sequence of a mini-batch", "N"),
    Option("batch_size", number, "sequences in a mini-batch", "N"),
    *(
        Option(
            f"priors.{name}",
            number_or_auto,
            f"prior on {what}, in samples, or auto",
            "N",
            (f"--priors-{name}",),
        )
        for name, what in (
            ("initial", "initial probabilities"),
            ("transitions", "transitions"),
            ("covariances", "covariances"),
            ("means", "means"),
        )
    ),
)
SEED = Option(
    "random_state",
    number,
    "seed of all randomness; drawn and written down if none is given",
    "N",
    ("--seed", "--random-state"),
)
N_JOBS = Option("n_jobs", number, "how many recordings to filter side by side", "N")
CACHE = Option("cache_dir", word, "folder for features that are more than memory holds", "DIR")
PLACES = (
    Option("checkpoint_dir", word, "folder from which interrupted training goes on", "DIR"),
    Option("log_dir", word, "folder for TensorBoard", "DIR"),
)

N_STATES = Option("n_states", number, "number of states", "N")
FIT = (N_STATES, *RECORDINGS, *PREPARATION, *TRAINING, SEED, CACHE, *PLACES, N_JOBS)
# A selection fits many models, each of them anew and whole.
NOT_OF_SELECT = {
    *("learn_covariances", "learn_transitions", "init", "refine"),
    *("sequence_length", "batch_size"),
}
SELECT = (
    Option("n_states", numbers, "numbers of states to try, as 4-16 (default) or 4,6,8", "NUMBERS"),
    Option("n_folds", number, "folds of the cross-validation (5)", "N"),
    Option("n_repeats", number, "fits on all data (3)", "N"),
    Option("gap", number, "seconds left out beside a held-out block (1)", "SECONDS"),
    Option("metric", word, "distance of states: riemannian (default) or wasserstein", "METRIC"),
    *RECORDINGS,
    *PREPARATION,
    *(option for option in TRAINING if option.name not in NOT_OF_SELECT),
    Option("refine", None, "search for the best optimum in each fit (default: no)"),
    SEED,
    CACHE,
    Option("checkpoint_dir", word, "folder from which an interrupted selection goes on", "DIR"),
    Option("n_jobs", number, "how many fits to make side by side", "N"),
)
APPLY = (
    Option("method", word, "posterior (default) or viterbi", "METHOD"),
    *(option for option in RECORDINGS if option.name != "picks"),
    Option(
        "align_on",
        period_or_file,
        "what recordings are aligned on: a period of each in seconds, as 0,60, or a file",
        "WHAT",
    ),
    N_JOBS,
)
BIDS = (
    Option(
        "bids.root",
        str,
        "take recordings of this BIDS data set, raw or derivatives, and leave BIDS derivatives; "
        "those below have commas between several",
        "ROOT",
        ("--bids",),
    ),
    Option("bids.subject", words, "only these persons, without sub-", "LABELS"),
    Option("bids.session", words, "only these sessions, without ses-", "LABELS"),
    Option("bids.task", words, "only these tasks, without task-", "LABELS"),
    Option("bids.run", words, "only these runs; 1 and 01 are the same", "LABELS"),
    Option("bids.processing", words, "only files with this proc-, such as clean", "LABELS"),
    Option("bids.description", words, "only files with this desc-", "LABELS"),
    Option("bids.datatype", words, "only meg, eeg, ieeg or nirs", "KINDS"),
    Option("bids.suffix", words, "only files that end so, such as raw or epo", "SUFFIXES"),
    Option("bids.extension", words, "only these formats, such as .fif", "SUFFIXES"),
)
REPORT = (
    Option("title", word, "title of the page", "TEXT"),
    Option("fmin", number, "lower edge of the spectra in hertz (1)", "HZ"),
    Option("fmax", number, "upper edge of the spectra in hertz (45)", "HZ"),
    Option("sessions", names, "session of each recording, with commas between", "NAMES"),
    Option("atlas", word, "atlas, for maps of parcels in a glass brain", "FILE"),
    N_JOBS,
)


def add_options(parser: argparse.ArgumentParser, options: Iterable[Option]) -> None:
    """Add options to a parser; those that are not given leave no trace."""
    groups: dict[str, Any] = {}
    for option in options:
        title = option.name.partition(".")[0]
        nested = title in ("preparation", "priors", "bids")
        if nested and title not in groups:
            groups[title] = parser.add_argument_group(title)
        kind: dict[str, Any] = (
            {"action": argparse.BooleanOptionalAction}
            if option.convert is None
            else {"type": option.convert, "metavar": option.metavar}
        )
        (groups[title] if nested else parser).add_argument(
            *option.spellings,
            dest=option.name,
            default=argparse.SUPPRESS,
            help=option.text.replace("%", "%%"),
            **kind,
        )
