"""What prepared data say of themselves."""

import mne
import numpy as np

from mne_hmm import Preparation, prepare


def test_all_that_was_taken_is_told():
    rng = np.random.default_rng(0)
    info = mne.create_info(["Fz", "Cz", "Pz"], 100.0, "eeg")
    raws = [mne.io.RawArray(rng.standard_normal((3, n)), info, verbose="ERROR") for n in (600, 900)]
    raws[1].set_annotations(mne.Annotations(2.0, 1.5, "BAD_blink"))
    settings = Preparation(
        l_freq=None, h_freq=None, sfreq=None, n_embeddings=5, n_components=4, standardize=False
    )
    prepared = prepare(raws, settings)
    # Two lags are lost at each end of each span: 596, 196 and 546 samples are left.
    assert (
        str(prepared)
        == repr(prepared)
        == "\n".join(
            [
                "PreparedData: 2 recordings in 3 spans",
                "  channels   3 (Fz, Cz, Pz)",
                "  features   4",
                "  samples    1,338 at 100 Hz (13.4 s)",
                f"  left out   {sum(prepared.seconds_left_out):.1f} of 15.0 s (10.8%)",
            ]
        )
    )
    assert abs(sum(prepared.seconds_left_out) - 1.62) < 1e-9
