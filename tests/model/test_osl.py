"""Models of osl-dynamics: read and written as osl-dynamics itself does, and never executed."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest
from numpy.testing import assert_allclose

import mne_hmm
from mne_hmm.model import osl_folder
from mne_hmm.model.file import Learned

FOLDER = Path(__file__).parents[1] / "data" / "osl_model"
PARAMETERS = ("initial_probs", "transition_matrix", "means", "covariances")
# Parameters are float32, and osl-dynamics computes covariances in float32.
FLOAT32 = {"rtol": 1e-6, "atol": 2e-6}


@pytest.fixture
def folder(tmp_path):
    """Copy the model that osl-dynamics wrote, to be changed."""
    for name in ("config.yml", "model.weights.h5"):
        shutil.copy(FOLDER / name, tmp_path)
    return tmp_path


@pytest.fixture
def model():
    """Make a model without any training: three states of six features."""

    def make(covariance_type="full", d=6, means=True):
        rng = np.random.default_rng(5)
        factors = rng.standard_normal((3, d, 2 * d))
        covariances = factors @ factors.transpose(0, 2, 1) / d
        if covariance_type == "diag":
            covariances = covariances * np.eye(d)
        settings = mne_hmm.Preparation.as_is().settings
        names = tuple(f"channel_{i}" for i in range(d))
        return mne_hmm.HMM(
            np.array([0.6, 0.3, 0.1]),
            np.array([[0.9, 0.06, 0.04], [0.03, 0.95, 0.02], [0.01, 0.02, 0.97]]),
            rng.standard_normal((3, d)) if means else np.zeros((3, d)),
            covariances,
            mne_hmm.FittedPreparation(**settings, ch_names_=names, rank_=d, sfreq_=100.0),
            learned=Learned(means=means, covariance_type=covariance_type),
        )

    return make


def numbers(folder, name="osl.npz"):
    with np.load(Path(folder) / name) as arrays:
        return dict(arrays)


def edit(folder, old, new):
    path = folder / "config.yml"
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def assert_same_parameters(hmm, expected):
    for name in PARAMETERS:
        assert_allclose(getattr(hmm, f"{name}_"), expected[name], **FLOAT32, err_msg=name)


def assert_same_states(hmm, expected, length=200):
    """Each sequence of osl-dynamics is a chain: a recording of its own."""
    sequences = expected["data"].reshape(-1, length, hmm.n_features)
    states = hmm.predict([sequence.T for sequence in sequences], sfreq=100)
    ours = np.concatenate([course.probabilities.T for course in states])
    assert_allclose(ours, expected["alpha"], rtol=0, atol=1e-4)


# Reading


def test_read():
    """All parameters and state probabilities are those of osl-dynamics."""
    hmm, expected = mne_hmm.read_osl_hmm(FOLDER, sfreq=100), numbers(FOLDER)
    assert_same_parameters(hmm, expected)
    assert_same_states(hmm, expected)
    assert hmm.learned == Learned(means=True)
    assert hmm.versions == {"osl_dynamics": "3.7.2"}
    assert hmm.preparation_.ch_names_ == ("channel_0", "channel_1", "channel_2", "channel_3")
    assert hmm.preparation_.sfreq_ == 100
    assert hmm.preparation_.settings == mne_hmm.Preparation.as_is().settings
    assert np.isnan(hmm.free_energy_)
    assert "nan" in str(hmm)


def test_read_diagonal(folder):
    """Diagonal covariances are numbers of their own, and the constant is added to them."""
    expected = numbers(FOLDER, "diagonal.npz")
    with h5py.File(folder / "model.weights.h5", "r+") as file:
        layers = file["layers"]
        layers.move("covariance_matrices_layer", "diagonal_matrices_layer")
        kernel = layers["diagonal_matrices_layer/layers/learnable_tensor_layer/vars"]
        del kernel["0"]
        kernel["0"] = expected["free"]
    edit(folder, "diagonal_covariances: false", "diagonal_covariances: true")
    edit(folder, "learn_means: true", "learn_means: false")
    edit(folder, "learn_trans_prob: true", "learn_trans_prob: false")
    hmm = mne_hmm.read_osl_hmm(folder, sfreq=100)
    assert_allclose(hmm.covariances_, expected["covariances"], **FLOAT32)
    assert hmm.learned == Learned(means=False, transitions=False, covariance_type="diag")


def test_read_and_saved_as_ours(tmp_path):
    """What was read is a model like any other."""
    hmm = mne_hmm.read_osl_hmm(FOLDER, sfreq=100)
    hmm.save(tmp_path / "model.h5")
    again = mne_hmm.read_hmm(tmp_path / "model.h5")
    assert_same_parameters(again, numbers(FOLDER))
    assert again.versions == hmm.versions


def test_own_preparation(simulated):
    """With a preparation the model takes recordings."""
    raw, _ = simulated
    prepared = mne_hmm.prepare(raw, mne_hmm.Preparation(n_components=4))
    hmm = mne_hmm.read_osl_hmm(FOLDER, preparation=prepared.preparation)
    assert hmm.preparation_ is prepared.preparation
    assert hmm.predict(raw).probabilities.shape == (3, raw.n_times)


def test_constants(folder):
    """What is added to the diagonal has osl-dynamics' own default."""
    covariances = mne_hmm.read_osl_hmm(folder, sfreq=100).covariances_
    edit(folder, "covariances_epsilon: 0.001", "covariances_epsilon: null")
    learned = mne_hmm.read_osl_hmm(folder, sfreq=100).covariances_
    edit(folder, "learn_covariances: true", "learn_covariances: false")
    fixed = mne_hmm.read_osl_hmm(folder, sfreq=100).covariances_
    eye = np.broadcast_to(np.eye(4), covariances.shape)
    assert_allclose(covariances - fixed, 1e-3 * eye, rtol=0, atol=1e-12)
    assert_allclose(learned - fixed, 1e-6 * eye, rtol=0, atol=1e-12)


def test_nothing_is_executed(folder):
    """A tag that would run a command, where it is not needed, and where it is."""
    proof = folder / "proof"
    attack = f"!!python/object/apply:os.system ['touch {proof}']"
    edit(folder, "optimizer: adam", f"optimizer: {attack}")
    edit(folder, "strategy: null", f"strategy: !!python/object/new:subprocess.Popen [{attack}]")
    hmm = mne_hmm.read_osl_hmm(folder, sfreq=100)
    assert_same_parameters(hmm, numbers(FOLDER))
    edit(folder, "n_states: 3", f"n_states: {attack}")
    with pytest.raises(ValueError, match=r"n_states .*whole number.*object of .*apply:os\.system"):
        mne_hmm.read_osl_hmm(folder, sfreq=100)
    (folder / "config.yml").write_text(attack)
    with pytest.raises(ValueError, match="must hold names with values"):
        mne_hmm.read_osl_hmm(folder, sfreq=100)
    assert not proof.exists()


def test_pickles_are_not_opened(folder):
    """Pickles that osl-dynamics leaves beside its models are none of ours."""
    for name in ("preparation.pkl", "history.pkl"):
        (folder / name).write_bytes(b"cos\nsystem\n(S'exit 3'\ntR.")
    assert_same_parameters(mne_hmm.read_osl_hmm(folder, sfreq=100), numbers(FOLDER))


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("model_name: HMM", "model_name: DyNeMo", "kind 'DyNeMo'"),
        ("model_name: HMM", "", "lacks model_name"),
        ("n_channels: 4", "", "lacks n_channels"),
        ("n_channels: 4", "n_channels: 5", r"shape \(3, 5\).*shape \(3, 4\)"),
        ("n_channels: 4", "n_channels: 4000000000", r"must hold .* of shape \(3, 4000000000\)"),
        ("n_states: 3", "n_states: true", "must be a whole number ≥ 1, got True"),
        ("n_states: 3", "n_states: -3", "must be a whole number ≥ 1, got -3"),
        ("n_states: 3", "n_states: {3", "is no YAML"),
        ("n_states: 3", "n_states: !!int three", "is no YAML"),
        ("learn_means: true", "learn_means: 1", "true or false, got 1"),
        ("learn_means: true", "learn_means: null", "lacks learn_means"),
        ("diagonal_covariances: false", "diagonal_covariances: true", "lacks .*diagonal_matr"),
        ("covariances_epsilon: 0.001", "covariances_epsilon: -1", "number ≥ 0, got -1"),
        ("covariances_epsilon: 0.001", "covariances_epsilon: .inf", "number ≥ 0, got inf"),
    ],
)
def test_wrong_settings(folder, old, new, message):
    """Each says which file, which setting, and what it should be."""
    edit(folder, old, new)
    with pytest.raises(ValueError, match=message) as caught:
        mne_hmm.read_osl_hmm(folder, sfreq=100)
    assert str(folder) in str(caught.value)


def test_aliases_do_not_fill_the_memory(folder):
    """Lists of lists of lists, each named ten times by the next, stay small in a message."""
    lines = ["a0: &a0 [x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 12)]
    (folder / "config.yml").write_text("\n".join([*lines, "model_name: *a11"]))
    with pytest.raises(ValueError, match="is of a model of kind") as caught:
        mne_hmm.read_osl_hmm(folder, sfreq=100)
    assert len(str(caught.value)) < 1000


def test_wrong_calls(folder, fitted, tmp_path, monkeypatch):
    """Mistakes in the call come first, and say the way out."""
    read = mne_hmm.read_osl_hmm
    with pytest.raises(ValueError, match=r"does not tell the sampling rate.*sfreq=250"):
        read(folder)
    with pytest.raises(ValueError, match="sfreq must be a rate above 0 Hz, got 0"):
        read(folder, sfreq=0)
    with pytest.raises(TypeError, match="must be a fitted one"):
        read(folder, preparation=mne_hmm.Preparation())
    with pytest.raises(ValueError, match="leave sfreq out"):
        read(folder, sfreq=250, preparation=fitted.preparation_)
    with pytest.raises(ValueError, match=r"makes 12 features, but the model .* has 4"):
        read(folder, preparation=fitted.preparation_)
    with pytest.raises(TypeError, match="folder must be a path of a folder, got None"):
        read(None, sfreq=100)
    with pytest.raises(FileNotFoundError, match="there is no such folder"):
        read(tmp_path / "none", sfreq=100)
    with pytest.raises(NotADirectoryError, match="is a file; give a folder"):
        read(folder / "config.yml", sfreq=100)
    with pytest.raises(IsADirectoryError, match=r"read by mne_hmm\.read_osl_hmm"):
        mne_hmm.read_hmm(folder)
    monkeypatch.setitem(sys.modules, "yaml", None)
    with pytest.raises(ImportError, match=r'PyYAML.*pip install "mne-hmm\[cli\]"'):
        read(folder, sfreq=100)
    (folder / "model.weights.h5").unlink()
    with pytest.raises(FileNotFoundError, match=r"lacks model\.weights\.h5"):
        read(folder, sfreq=100)


def test_damaged_weights(folder):
    """Files that are cut off, text or another model's, and numbers that cannot be."""
    path = folder / "model.weights.h5"
    whole = path.read_bytes()

    def refused(error, message, content=None, **changes):
        path.write_bytes(whole if content is None else content)
        if content is None:
            with h5py.File(path, "r+") as file:
                for name, value in changes.items():
                    where = getattr(osl_folder, name)
                    del file[where]
                    if value is not None:
                        file[where] = value
        with pytest.raises(error, match=message) as caught:
            mne_hmm.read_osl_hmm(folder, sfreq=100)
        assert str(path) in str(caught.value)

    refused(OSError, "is no HDF5 file, was cut off", whole[: len(whole) // 2])
    refused(OSError, "is no HDF5 file", b"text")
    refused(OSError, "is no HDF5 file", b"")
    refused(ValueError, f"lacks {osl_folder.TRANSITIONS}.*older version", TRANSITIONS=None)
    refused(ValueError, r"shape \(3, 4\).*got float64 of shape \(4, 3\)", MEANS=np.ones((4, 3)))
    refused(ValueError, "floating-point .*got int64", MEANS=np.ones((3, 4), int))
    refused(ValueError, "not finite", MEANS=np.full((3, 4), np.nan))
    refused(ValueError, "≥ 0 and sum to 1", TRANSITIONS=np.ones((3, 3)))
    refused(ValueError, "≥ 0 and sum to 1", INITIAL=np.array([-0.5, 1.0, 0.5]))
    refused(ValueError, f"lacks {osl_folder.MEANS}", MEANS=h5py.ExternalLink("other.h5", "x"))
    with h5py.File(path, "w") as file:
        file["mine"] = 1.0
    refused(ValueError, f"lacks {osl_folder.INITIAL}", path.read_bytes())


@pytest.mark.parametrize(
    ("seed", "n_files"), [(0, 16), *(pytest.param(n, 40, marks=pytest.mark.slow) for n in range(3))]
)
def test_flipped_bytes(folder, seed, n_files):
    """A file with wrong bytes gives numbers or a clear error, nothing else.

    Each is opened in a process of its own. The first 16 fail in all the ways that 40 do.
    """
    path = folder / "model.weights.h5"
    whole = np.frombuffer(path.read_bytes(), np.uint8)
    rng = np.random.default_rng(seed)
    messages = []
    for _ in range(n_files):
        wrong = whole.copy()
        wrong[rng.integers(len(wrong), size=200)] = rng.integers(256, size=200)
        path.write_bytes(wrong.tobytes())
        try:
            mne_hmm.read_osl_hmm(folder, sfreq=100)
        except (OSError, ValueError) as error:
            messages.append(str(error))
    assert messages
    assert all(str(path) in message for message in messages)


# Writing


@pytest.mark.parametrize("covariance_type", ["full", "diag"])
@pytest.mark.parametrize("d", [1, 5, 6])
def test_written_and_read(tmp_path, model, covariance_type, d):
    """Parameters survive to float32; odd and even numbers of features fill triangles otherwise."""
    hmm = model(covariance_type, d, means=d != 5)
    target = tmp_path / "deep" / "folder"
    mne_hmm.write_osl_hmm(hmm, target)
    again = mne_hmm.read_osl_hmm(target, preparation=hmm.preparation_)
    assert_same_parameters(again, {name: getattr(hmm, f"{name}_") for name in PARAMETERS})
    assert again.learned == hmm.learned
    assert sorted(path.name for path in target.iterdir()) == ["config.yml", "model.weights.h5"]


def test_free_numbers_are_those_of_osl(tmp_path):
    """What osl-dynamics learned comes back, but for what it adds to the diagonal."""
    expected = numbers(FOLDER)
    hmm = mne_hmm.read_osl_hmm(FOLDER, sfreq=100)
    hmm.covariances_ -= 1e-3 * np.eye(4)
    mne_hmm.write_osl_hmm(hmm, tmp_path)
    with (
        h5py.File(tmp_path / "model.weights.h5") as ours,
        h5py.File(FOLDER / "model.weights.h5") as theirs,
    ):
        for name in ("MEANS", "INITIAL", "TRANSITIONS"):
            where = getattr(osl_folder, name)
            assert ours[where].dtype == np.float32
            assert_allclose(ours[where], theirs[where], **FLOAT32)
        free = ours[osl_folder.COVARIANCES["full"]][()]
    # A Cholesky factor's last digits depend on those of the matrix.
    assert_allclose(free, expected["free"], rtol=0, atol=2e-5)


def test_wrong_targets(tmp_path, model):
    """Nothing is replaced unasked, and what stood there stays."""
    hmm = model()
    mne_hmm.write_osl_hmm(hmm, tmp_path)
    (tmp_path / "notes.txt").write_text("mine")
    before = (tmp_path / "model.weights.h5").read_bytes()
    with pytest.raises(FileExistsError, match=r"holds config\.yml and model\.weights\.h5 already"):
        mne_hmm.write_osl_hmm(hmm, tmp_path)
    other = model(d=2)
    other.covariances_[1] = [[1.0, 1.0], [1.0, 1.0]]
    with pytest.raises(ValueError, match="one is not positive definite"):
        mne_hmm.write_osl_hmm(other, tmp_path, overwrite=True)
    assert (tmp_path / "model.weights.h5").read_bytes() == before
    mne_hmm.write_osl_hmm(model(d=2), tmp_path, overwrite=True)
    assert mne_hmm.read_osl_hmm(tmp_path, sfreq=100).n_features == 2
    assert (tmp_path / "notes.txt").read_text() == "mine"
    with pytest.raises(NotADirectoryError, match="give a folder"):
        mne_hmm.write_osl_hmm(hmm, tmp_path / "notes.txt")
    with pytest.raises(TypeError, match="hmm must be an HMM"):
        mne_hmm.write_osl_hmm(tmp_path, hmm)


@pytest.mark.parametrize("covariance_type", ["full", "diag"])
@pytest.mark.parametrize("scale", [0.0, 1e-50, 1e50])
def test_what_osl_cannot_hold(tmp_path, model, covariance_type, scale):
    """Variances beyond what float32 and osl-dynamics' parameters have are an error."""
    hmm = model(covariance_type)
    hmm.covariances_ *= scale
    with pytest.raises(ValueError, match="osl-dynamics cannot hold the covariances"):
        mne_hmm.write_osl_hmm(hmm, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_near_to_singular(tmp_path, model):
    """Factors smaller than what osl-dynamics adds to them are an error, too."""
    hmm = model()
    hmm.covariances_ *= 1e-11
    with pytest.raises(ValueError, match="too small for the 1e-5"):
        mne_hmm.write_osl_hmm(hmm, tmp_path)


# With osl-dynamics itself


@pytest.fixture(scope="module")
def osl():
    """Run the other side of a test in a Python that has osl-dynamics."""
    python = os.environ.get("MNE_HMM_OSL_PYTHON")
    if not python:
        pytest.skip("MNE_HMM_OSL_PYTHON does not name a Python with osl-dynamics")

    def run(*arguments):
        script = Path(__file__).parents[1] / "osl_side.py"
        ran = subprocess.run(
            [python, script, *arguments], capture_output=True, text=True, check=False
        )
        assert ran.returncode == 0, ran.stderr

    return run


@pytest.mark.parametrize("kind", ["full", "diag"])
def test_trained_by_osl(osl, tmp_path, kind):
    """A model that osl-dynamics has just trained."""
    osl("train", tmp_path, kind)
    hmm, expected = mne_hmm.read_osl_hmm(tmp_path, sfreq=100), numbers(tmp_path)
    assert_same_parameters(hmm, expected)
    assert_same_states(hmm, expected)
    assert hmm.learned == Learned(means=kind == "full", covariance_type=kind)


@pytest.mark.parametrize("covariance_type", ["full", "diag"])
def test_loaded_by_osl(osl, tmp_path, model, covariance_type):
    """A model that was written here, loaded by osl-dynamics, which finds the same states."""
    hmm = model(covariance_type, d=7)
    data, _ = hmm.sample(600, random_state=1)
    mne_hmm.write_osl_hmm(hmm, tmp_path)
    np.save(tmp_path / "data.npy", data.astype(np.float32))
    osl("load", tmp_path)
    expected = numbers(tmp_path)
    assert_same_parameters(hmm, expected)
    assert_same_states(hmm, expected)
