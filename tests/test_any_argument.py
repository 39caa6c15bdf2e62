"""Every public function with every argument made nonsense: it works, or says what is wrong."""

import inspect

import mne
import numpy as np
import pytest
from made_models import small_model

import mne_hmm

# What an error may be, for whoever calls a function with the wrong thing.
CLEAR = (ValueError, TypeError, OSError, NotImplementedError)

NONSENSE = {
    "None": None,
    "a word": "nonsense",
    "minus one": -1,
    "NaN": np.nan,
    "a huge number": 10**30,
    "an object": object(),
    "an empty list": [],
    "a dictionary": {"a": 1},
    "bytes": b"\0\xff",
    "a cube": np.zeros((2, 2, 2)),
    "NaNs": np.full((3, 400), np.nan),
    "text with a zero": "a\0b",
    "a function": len,
}

# Not called with nonsense, and why.
LEFT_OUT = {
    "multi_worker_strategy": "waits for other machines",
    "find_bids_recordings": "needs MNE-BIDS and a data set; see model/test_bids_derivatives.py",
    "read_bids_recording": "needs MNE-BIDS and a data set; see model/test_bids_derivatives.py",
    "read_bids_annotations": "needs MNE-BIDS and a data set; see model/test_bids_derivatives.py",
    "write_bids_derivatives": "needs MNE-BIDS and a data set; see model/test_bids_derivatives.py",
    "parcellate_nifti": "needs images; see io/parcellation/test_nifti.py",
    "decode_stream": "needs a stream; see online/test_stream.py",
    "record_stream": "needs a stream; see online/test_stream.py",
    "sys_info": "prints; its arguments are MNE-Python's",
}

# Their meaning is that of MNE-Python and matplotlib, which check them.
OF_OTHERS = {
    "n_jobs",
    "verbose",
    "axes",
    "show",
    "strategy",
    "picks",
    "subjects_dir",
    "src",
    "atlas",
}


# So many are done as are asked for, however long that takes.
ENDLESS = {
    "n_permutations",
    "n_init",
    "n_samples",
    "n_boot",
    "n_repeats",
    "max_iter",
    "duration",
    "n_channels",
}


@pytest.fixture(scope="module")
def calls(tmp_path_factory):
    """A call of each public function that is fine, as positional and named arguments."""
    folder = tmp_path_factory.mktemp("any")
    rng = np.random.default_rng(0)
    x = rng.standard_normal((3, 400))
    info = mne.create_info(["channel_0", "channel_1", "channel_2"], 100.0, "misc")
    raw = mne.io.RawArray(x, info, verbose="ERROR")
    hmm, other = small_model(3), small_model(3)
    hmm.save(folder / "model.h5")
    as_is = mne_hmm.Preparation.as_is()
    mne_hmm.prepare(x, as_is, sfreq=100.0, cache_dir=folder / "cache", verbose="ERROR")
    states = hmm.predict(raw, verbose="ERROR")
    spectra = mne_hmm.compute_state_spectra(raw, states, fmax=40.0, verbose="ERROR")
    events = np.array([[100, 0, 1], [200, 0, 1]])
    data = {"sfreq": 100.0, "preparation": as_is, "verbose": "ERROR"}
    fast = {"n_init": 1, "refine": False, "max_iter": 2}
    return {
        "add_hmm_to_report": (mne.Report(verbose="ERROR"), hmm, raw),
        "align_signs": ([raw, raw],),
        "average_state_spectra": ([spectra, spectra],),
        "cluster_test_state_evoked": ([states, states], [events, events]),
        "bootstrap_statistics": (hmm, 5.0, {"n_boot": 20}),
        "coherence_networks": (spectra,),
        "compute_agreement": (states, states),
        "compute_calibration": (states, states),
        "compute_consensus": ([hmm, other], raw),
        "compute_model_spectra": (hmm,),
        "compute_occupancy_over_time": (states, 1.0),
        "compute_recording_dependence": ([states, states],),
        "compute_state_evoked": (states, events, {"tmin": -0.1, "tmax": 0.2}),
        "compute_state_spectra": (raw, states, {"fmax": 40.0}),
        "compute_tinda": (states,),
        "contrast_groups": (rng.random((6, 3)), [0, 0, 0, 1, 1, 1]),
        "find_spectral_components": (spectra, {"n_components": 2}),
        "cross_validate": (x, 2, {**data, "n_folds": 0, **fast}),  # never to its end
        "fit_hmm": (x, 2, data | fast),
        "list_visits": (states,),
        "match_states": (hmm, other),
        "mean_maps": (hmm,),
        "model_autocovariance": (hmm,),
        "parcellate": (x, "aparc"),
        "power_maps": (spectra,),
        "prepare": (x, data),
        "read_hmm": (folder / "model.h5",),
        "read_osl_hmm": (folder, {"sfreq": 100.0}),
        "read_prepared": (folder / "cache",),
        "select_n_states": (x, [2], {**data, "n_folds": 0, **fast}),  # never to its end
        "simulate_raw": (2, {"n_channels": 3, "duration": 2.0}),
        "summarize_recordings": (states,),
        "summarize_states": (states,),
        "write_osl_hmm": (hmm, folder / "osl"),
        "HMM.predict": (hmm, x, {"sfreq": 100.0}),
        "HMM.score": (hmm, x, {"sfreq": 100.0}),
        "HMM.free_energy": (hmm, x, {"sfreq": 100.0}),
        "HMM.dual_estimate": (hmm, x, {"sfreq": 100.0}),
        "HMM.agreement": (hmm, other, x, {"sfreq": 100.0}),
        "HMM.compare_to_reference": (hmm, x, {"sfreq": 100.0}),
        "HMM.sample": (hmm, 5),
        "HMM.reorder_states": (hmm, [2, 0, 1]),
        "HMM.rename_states": (hmm, ["a", "b", "c"]),
        "HMM.save": (hmm, folder / "new.h5"),
        "StateTimeCourse.to_annotations": (states,),
        "StateTimeCourse.statistics": (states,),
        "StateSpectra.power": (spectra, 1.0, 10.0),
        "StateSpectra.band": (spectra, 1.0, 10.0),
        "StateSpectra.to_spectrum": (spectra, 0),
        "StateNetworks.threshold": (mne_hmm.coherence_networks(spectra),),
        "Preparation": (),
        "Priors": (),
    }


def function_of(name):
    """The function or method of a name."""
    member = mne_hmm
    for part in name.split("."):
        member = getattr(member, part)
    return member


def test_no_public_function_is_forgotten(calls):
    """What is new is entered above, or left out with a reason."""
    public = {name for name in mne_hmm.__all__ if inspect.isfunction(getattr(mne_hmm, name))}
    assert public - set(calls) - set(LEFT_OUT) == set()
    assert {name for name in (*calls, *LEFT_OUT) if name[0].islower()} - public == set()


def substituted(function, call):
    """Every argument of a call in turn, and the call with something else in its place."""
    signature = inspect.signature(function)
    named = call[-1] if call and type(call[-1]) is dict else {}
    bound = signature.bind(*(call[:-1] if named else call), **named).arguments
    for name, parameter in signature.parameters.items():
        if name in OF_OTHERS or name == "self" or parameter.kind is parameter.VAR_KEYWORD:
            continue
        for what, nonsense in NONSENSE.items():
            is_endless = what == "a huge number" and name in ENDLESS
            if not is_endless and not (nonsense is None and parameter.default is None):
                yield f"{name}={what}", {**bound, name: nonsense}


# Where most nonsense is found only after some work.
SLOW = {
    *("add_hmm_to_report", "cluster_test_state_evoked", "compute_consensus", "fit_hmm"),
    *("select_n_states", "simulate_raw", "compute_tinda", "cross_validate"),
}
FUNCTIONS = [name for name in mne_hmm.__all__ if inspect.isfunction(getattr(mne_hmm, name))]
METHODS = [
    *("HMM.predict", "HMM.score", "HMM.free_energy", "HMM.dual_estimate", "HMM.agreement"),
    *("HMM.compare_to_reference", "HMM.sample", "HMM.reorder_states", "HMM.rename_states"),
    *("HMM.save", "StateTimeCourse.to_annotations", "StateTimeCourse.statistics"),
    *("StateSpectra.power", "StateSpectra.band", "StateSpectra.to_spectrum"),
    *("StateNetworks.threshold", "Preparation", "Priors"),
]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=[pytest.mark.slow] if name in SLOW else [])
        for name in (*FUNCTIONS, *METHODS)
        if name not in LEFT_OUT
    ],
)
def test_nonsense_is_told(calls, name, tmp_path, monkeypatch):
    """No error but those that are documented, and none without words."""
    monkeypatch.chdir(tmp_path)  # where folders of any name may be made
    function = function_of(name)
    wrong = []
    for what, arguments in substituted(function, calls[name]):
        try:
            function(**arguments)
        except CLEAR as error:
            if len(str(error)) < 20:
                wrong.append(f"{what}: {error!r}")
        except Exception as error:
            wrong.append(f"{what}: {error!r}")
    assert not wrong, "\n".join(wrong)
