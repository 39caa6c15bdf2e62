"""Fetching: the real downloader against a real server on the loopback address."""

import email.utils
import io
import json
import stat
import sys
import threading
import time
import zipfile
from importlib.resources import files
from pathlib import Path

import mne
import nibabel
import numpy as np
import pytest
from child_processes import ChildProcess
from osf_server import Server, wait_for

import mne_hmm
from mne_hmm.datasets import _download, _retry, fetch_atlas, fetch_osf  # waits are shortened
from mne_hmm.datasets._registry import PLACES, fetch_registered, read_registry  # no public list

GILES = "atlas-Giles_nparc-38_space-MNI_res-8x8x8.nii.gz"
ATLASES = (
    *("AAL116", "AAL24", "AAL78", "DK54", "DK68", "Giles38", "Giles39", "Giles42", "Glasser50"),
    *("Glasser52", "Schaefer100-5mm", "Schaefer100-8mm"),
)


@pytest.fixture
def server(monkeypatch):
    """Start a server, and send everything there; waits are short."""
    server = Server()
    monkeypatch.setenv("MNE_HMM_OSF_API", f"{server.url}/v2")
    monkeypatch.setenv("MNE_HMM_GITHUB", server.url)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr(_retry, "FIRST_WAIT", 0.01)
    yield server
    server.close()


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """Cache folder of one test."""
    monkeypatch.setenv("MNE_HMM_DATA", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def mirror(server, test_data):
    """Mirror the repositories of which there are files beside the tests."""
    atlases = f"{PLACES['parcellation']}/osl_dynamics/files"
    server.mirrors[f"{atlases}/parcellation"] = test_data / "parcellation"
    server.mirrors[f"{atlases}/mask"] = test_data / "parcellation"
    server.mirrors[PLACES["canonical-hmm"]] = test_data / "Canonical-HMM-Networks"
    return server


def npy(array):
    """Content of a file with an array."""
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def zipped(members):
    """Content of a zip file."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return file.getvalue()


def noise(n_samples=500, n_columns=4, seed=0):
    """Make an array of signals, samples first."""
    rng = np.random.default_rng(seed)
    return rng.standard_normal((n_samples, n_columns)).astype(np.float32)


def whole_files(folder):
    """Everything under a final name."""
    return sorted(
        str(path.relative_to(folder))
        for path in folder.rglob("*")
        if path.is_file()
        and not any(part.startswith(".") for part in path.relative_to(folder).parts)
    )


# What comes back


def test_prepared_stay_prepared(server, cache):
    """Features that were prepared elsewhere go into training bit by bit as they are."""
    first, second = noise(500), noise(400, seed=1)
    content = {"array0.npy": npy(first), "array1.npy": npy(second), "preparation.pkl": b"never"}
    server.add("data/notts_meguk_giles_prepared_1_subject.zip", zipped(content))
    data = fetch_osf("notts_meguk_giles_prepared_1_subject")
    assert isinstance(data, mne_hmm.PreparedData)
    np.testing.assert_array_equal(data.data[0], first)
    np.testing.assert_array_equal(data.data[1], second)
    assert data.sfreq == 250
    assert data.preparation.settings == mne_hmm.Preparation.as_is().settings
    assert data.spans == [[(0, 500)], [(0, 400)]]


@pytest.mark.slow
def test_fits(server, cache):
    """One line from a name to a model."""
    name = "notts_meguk_giles_prepared_1_subject"
    is_loud = np.arange(2000) // 100 % 2 == 1
    array = noise(2000) * np.where(is_loud, 3, 1)[:, np.newaxis]
    server.add(f"data/{name}.zip", zipped({"array0.npy": npy(array.astype(np.float32))}))
    data = fetch_osf(name)
    hmm = mne_hmm.fit_hmm(data, 2, n_init=1, refine=False, learn_means=False, random_state=0)
    (states,) = hmm.predict(data)
    # Four channels three times as loud are told apart but for a few samples at the switches.
    assert max(np.mean(states.labels == is_loud), np.mean(states.labels != is_loud)) > 0.95


def test_parcels(server, cache):
    """Arrays of parcels become recordings, in natural order, which wait in their files."""
    arrays = {f"array{i_array}.npy": noise(1000 + i_array, 3, i_array) for i_array in (10, 2, 0)}
    inside = {f"notts/{name}": npy(array) for name, array in arrays.items()}
    inside |= {"__MACOSX/notts/._array0.npy": b"rubbish", "notts/.DS_Store": b"rubbish"}
    server.add("data/notts_meguk_giles_5_subjects.zip", zipped(inside))
    raws = fetch_osf("notts_meguk_giles_5_subjects")
    assert [raw.n_times for raw in raws] == [1000, 1002, 1010]
    assert not any(raw.preload for raw in raws)
    assert {raw.info["sfreq"] for raw in raws} == {250.0}
    assert raws[0].ch_names == ["parcel_0", "parcel_1", "parcel_2"]
    assert set(raws[0].get_channel_types()) == {"misc"}
    np.testing.assert_array_equal(raws[2].get_data(), arrays["array10.npy"].T)
    prepared = mne_hmm.prepare(raws, mne_hmm.Preparation(n_components=4, h_freq=40))
    assert len(prepared) == 3


def test_raws_in_folders(server, cache, tmp_path):
    """A folder for each recording, as the task data have it."""
    inside = {}
    for subject in (1, 2, 10):
        raw = mne.io.RawArray(noise(200, 2, subject).T, mne.create_info(2, 100.0, "misc"))
        raw.save(tmp_path / "parc-raw.fif")
        inside[f"sub{subject}_run1/sflip_parc-raw.fif"] = (tmp_path / "parc-raw.fif").read_bytes()
        (tmp_path / "parc-raw.fif").unlink()
    server.add("data/wakeman_henson_giles_5_subjects.zip", zipped(inside))
    raws = fetch_osf("wakeman_henson_giles_5_subjects")
    names = [Path(raw.filenames[0]).parent.name for raw in raws]
    assert names == ["sub1_run1", "sub2_run1", "sub10_run1"]


@pytest.mark.parametrize(
    ("name", "inside"),
    [
        ("tde_hmm_notts_meguk_giles", {"config.yml": b"", "model.weights.h5": b""}),
        ("notts_spectra", {"f.npy": npy(np.arange(9.0)), "psd.npy": npy(np.zeros((2, 3, 4)))}),
        ("notts_both", {"networks/array0.npy": npy(noise()), "bursts/array0.npy": npy(noise())}),
        ("notts_mixed", {"array0.npy": npy(noise()), "more/x.txt": b""}),
        ("notts_uneven", {"a.npy": npy(noise()), "b.npy": npy(noise(n_columns=5))}),
        ("other_rate", {"array0.npy": npy(noise())}),
        ("notts_objects", {"a.npy": npy(np.array([{}, {}], object))}),
    ],
)
def test_anything_else_is_a_folder(server, cache, name, inside):
    """What cannot be told to be recordings is left to the reader."""
    server.add(f"data/{name}.zip", zipped(inside))
    folder = fetch_osf(name)
    assert folder == cache / "osf" / "by2tc" / name
    assert whole_files(folder) == sorted(inside)


def test_file_that_is_no_zip(server, cache):
    """Its path comes back, and later without a network."""
    server.add("data/note.txt", b"hello")
    assert fetch_osf("note.txt").read_bytes() == b"hello"
    server.close()
    assert fetch_osf("note.txt").read_bytes() == b"hello"


# Finding files


@pytest.fixture
def many(server):
    """Fill a project with more files than go on a page, in several folders."""
    for i_set in range(5):
        server.add(f"data/set_{i_set}.zip", zipped({"x.txt": b"%d" % i_set}))
    server.add("data/old/set_9.zip", zipped({"x.txt": b"old"}))
    for folder in ("inf_params", "spectra"):
        server.add(f"{folder}/set_3.zip", zipped({"x.txt": folder.encode()}))
        server.add(f"{folder}/twice.zip", zipped({"x.txt": folder.encode()}))
    server.add("models/once.zip", zipped({"x.txt": b"once"}))
    return server


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("set_4", "4"),
        ("set_4.zip", "4"),
        ("data/set_4.zip", "4"),
        ("set_3", "3"),
        ("set_9", "old"),
        ("old/set_9", "old"),
        ("once", "once"),
        ("models/once", "once"),
        ("spectra/twice", "spectra"),
        ("inf_params/set_3", "inf_params"),
    ],
)
def test_names(many, cache, name, content):
    """Pages and folders are walked; the folder data comes first."""
    assert (fetch_osf(name) / "x.txt").read_text() == content


def test_name_that_is_not_there(many, cache):
    """The error lists what there is, data first, as it can be asked for."""
    with pytest.raises(ValueError, match="name='set_5' is no file of project 'by2tc'") as error:
        fetch_osf("set_5")
    message = str(error.value)
    expected = "old/set_9, set_0, set_1, set_2, set_3, set_4, inf_params/set_3, inf_params/twice"
    assert expected in message
    assert whole_files(cache) == []


def test_name_of_several_files(many, cache):
    """The error says which names tell them apart."""
    with pytest.raises(ValueError, match=r"several files.*inf_params/twice, spectra/twice"):
        fetch_osf("twice")


def test_project_that_is_not_there(server, cache):
    """The error shows where a project's name stands."""
    with pytest.raises(ValueError, match=r"project='zzzzz' is none.*404.*https://osf.io/by2tc"):
        fetch_osf("x", project="zzzzz")


@pytest.mark.parametrize(
    "name", ["../x", "/etc/x", "a/../../x", "", "a//b", ".hidden", "a\\b", "C:x"]
)
def test_names_stay_in_the_cache(server, cache, name):
    """A name is no way out of the cache folder."""
    with pytest.raises(ValueError, match="name must be the name of a file"):
        fetch_osf(name)


def test_wrong_arguments(server, cache):
    """What is no name at all is said at once."""
    with pytest.raises(TypeError, match="name must be a string, got 3"):
        fetch_osf(3)
    with pytest.raises(TypeError, match="name must be a string, got 38"):
        fetch_atlas(38)
    with pytest.raises(ValueError, match=r"project must be a project's letters.*'by2tc/x'"):
        fetch_osf("x", project="by2tc/x")
    assert server.asked == []


@pytest.mark.parametrize("answer", [b"<html>Sign in</html>", b'{"errors": []}', b'{"data": [{}]}'])
def test_answers_of_something_else(server, cache, answer):
    """A network's sign-in page is not taken for OSF."""
    server.answers["/v2/nodes/by2tc/files/osfstorage/"] = answer
    with pytest.raises(ConnectionError, match="osfstorage/"):
        fetch_osf("x")


# Hashes, and what is remembered


def test_remembered_without_network(server, cache):
    """Once fetched, a data set and its hash stay, in a folder nobody may write to, too."""
    server.add("data/notts_x.zip", zipped({"array0.npy": npy(noise())}))
    fetch_osf("notts_x")
    folder = cache / "osf" / "by2tc"
    record = json.loads((folder / "notts_x.json").read_text())
    assert record["sha256"] == server.hashes["data/notts_x.zip"]
    assert whole_files(folder) == ["notts_x.json", "notts_x/array0.npy"]
    server.close()
    (raw,) = fetch_osf("notts_x")
    assert raw.n_times == 500


def test_damaged_data_are_fetched_again(server, cache):
    """What was unpacked and is no longer whole is not taken for whole."""
    server.add("data/set.zip", zipped({"x.txt": b"whole"}))
    folder = fetch_osf("set")
    (folder / "x.txt").write_bytes(b"who")
    assert (fetch_osf("set") / "x.txt").read_bytes() == b"whole"
    (cache / "osf" / "by2tc" / "set.json").write_text("{")
    assert (fetch_osf("set") / "x.txt").read_bytes() == b"whole"
    assert len(server.downloads("set.zip")) == 3


def test_wrong_hash(server, cache):
    """A file that is not the one OSF speaks of never gets its name."""
    server.add("data/set.zip", zipped({"x.txt": b"x"}), sha256="0" * 64)
    with pytest.raises(OSError, match=r"set.zip did not bring the file it should.*hash"):
        fetch_osf("set")
    assert whole_files(cache) == ["osf/by2tc/set.json"]
    server.add("data/set.zip", server.files["data/set.zip"])
    assert (fetch_osf("set") / "x.txt").read_bytes() == b"x"


def test_force(server, cache):
    """What has changed is fetched on demand only, and replaces all of the old."""
    server.add("data/set.zip", zipped({"x.txt": b"old", "gone.txt": b""}))
    fetch_osf("set")
    server.add("data/set.zip", zipped({"x.txt": b"new"}))
    assert (fetch_osf("set") / "x.txt").read_bytes() == b"old"
    folder = fetch_osf("set", force=True)
    assert (folder / "x.txt").read_bytes() == b"new"
    assert whole_files(folder) == ["x.txt"]
    assert [path.name for path in folder.parent.iterdir() if "old" in path.name] == []
    server.close()
    with pytest.raises(ConnectionError):
        fetch_osf("set", force=True)
    assert (fetch_osf("set") / "x.txt").read_bytes() == b"new"


def test_folder_of_the_cache(server, cache, tmp_path, monkeypatch):
    """The argument counts before the environment, and that before the operating system."""
    server.add("data/set.zip", zipped({"x.txt": b"x"}))
    assert fetch_osf("set", path=tmp_path / "here") == tmp_path / "here/osf/by2tc/set"
    assert fetch_osf("set") == cache / "osf/by2tc/set"
    monkeypatch.delenv("MNE_HMM_DATA")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "system"))
    if sys.platform == "linux":
        assert fetch_osf("set") == tmp_path / "system/mne-hmm/osf/by2tc/set"
    (tmp_path / "file").touch()
    with pytest.raises(NotADirectoryError, match=r"path=.*is a file"):
        fetch_osf("set", path=tmp_path / "file")


# Networks as they are


LONG = bytes(range(256)) * 4000
FIFTH, HALF = 3 * _download.CHUNK_SIZE, 7 * _download.CHUNK_SIZE


@pytest.mark.parametrize("gives_ranges", [True, False])
def test_cut_connection(server, cache, gives_ranges):
    """Goes on where the connection was cut, or starts again where the server cannot go on."""
    server.gives_ranges = gives_ranges
    server.add("data/long.bin", LONG)
    server.faults["long.bin"] = [("cut", FIFTH), ("cut", HALF)]
    assert fetch_osf("long.bin").read_bytes() == LONG
    assert server.downloads("long.bin")[0] is None
    second, third = server.downloads("long.bin")[1:]
    assert second == f"bytes={FIFTH}-"
    assert third == f"bytes={FIFTH + HALF if gives_ranges else HALF}-"
    assert whole_files(cache) == ["osf/by2tc/long.bin", "osf/by2tc/long.bin.json"]


def test_next_call_goes_on(server, cache):
    """What came before all tries had failed is not fetched again."""
    server.add("data/long.bin", LONG)
    refused = ("status", 503, {})
    server.faults["long.bin"] = [("cut", HALF), *[refused] * _download.N_TRIES]
    with pytest.raises(ConnectionError, match="503"):
        fetch_osf("long.bin")
    assert whole_files(cache) == ["osf/by2tc/long.bin.json"]
    assert fetch_osf("long.bin").read_bytes() == LONG
    assert server.downloads("long.bin")[-1] == f"bytes={HALF}-"


def test_parts_of_another_version(server, cache):
    """What is left of a file that has changed since is never put before the rest of the new."""
    server.add("data/long.bin", LONG)
    server.faults["long.bin"] = [("cut", HALF), ("status", 404, {})]
    with pytest.raises(ConnectionError, match="404"):
        fetch_osf("long.bin")
    server.add("data/long.bin", LONG[::-1])
    assert fetch_osf("long.bin").read_bytes() == LONG[::-1]


def test_connection_that_is_always_cut(server, cache):
    """Tries without anything new come to an end."""
    server.gives_ranges = False
    server.add("data/long.bin", LONG)
    server.faults["long.bin"] = [("cut", HALF)] * 100
    with pytest.raises(ConnectionError, match=r"/long\.bin: "):
        fetch_osf("long.bin")
    assert len(server.downloads("long.bin")) == _download.N_TRIES
    assert whole_files(cache) == ["osf/by2tc/long.bin.json"]


@pytest.mark.parametrize(("status", "as_date"), [(429, False), (503, True)])
def test_retry_after(server, cache, status, as_date):
    """Waits as long as it is asked to, in seconds or until a date."""
    # Dates have whole seconds: two seconds from now is at least one away.
    value = email.utils.formatdate(time.time() + 2, usegmt=True) if as_date else "1"
    server.add("data/note.txt", b"hello")
    server.faults["note.txt"] = [("status", status, {"Retry-After": value})]
    began = time.monotonic()
    assert fetch_osf("note.txt").read_bytes() == b"hello"
    assert time.monotonic() - began > 0.95  # a second, less what passed before it was asked
    assert len(server.downloads("note.txt")) == 2


def test_retry_after_that_says_nothing(server, cache):
    """A header that is neither a number nor a date does no harm."""
    server.add("data/note.txt", b"hello")
    server.faults["note.txt"] = [("status", 503, {"Retry-After": "soon"})]
    assert fetch_osf("note.txt").read_bytes() == b"hello"


def test_asked_to_wait_for_long(server, cache):
    """Nobody is left waiting for an hour."""
    server.add("data/note.txt", b"hello")
    server.faults["note.txt"] = [("status", 429, {"Retry-After": "3600"})]
    with pytest.raises(ConnectionError, match=r"asks to wait for 3,600 seconds"):
        fetch_osf("note.txt")


def test_waits_grow(server, cache, monkeypatch):
    """The first repetition comes at once; from then on each wait is twice the last."""
    monkeypatch.setattr(_retry, "FIRST_WAIT", 0.05)
    server.add("data/note.txt", b"hello")
    server.faults["note.txt"] = [("status", 500, {})] * 3
    began = time.monotonic()
    fetch_osf("note.txt")
    assert time.monotonic() - began > 0.1 + 0.2


def test_refused(server, cache):
    """An answer that will not change is not asked for again."""
    server.add("data/note.txt", b"hello")
    server.faults["note.txt"] = [("status", 403, {})]
    with pytest.raises(ConnectionError, match="the server answers 403"):
        fetch_osf("note.txt")
    assert len(server.downloads("note.txt")) == 1


def test_shows_no_more_than_asked(server, cache, capfd):
    """Nothing is printed with verbose=False; otherwise there is a bar."""
    server.add("data/long.bin", LONG)
    fetch_osf("long.bin", verbose=False)
    assert "".join(capfd.readouterr()) == ""
    fetch_osf("long.bin", force=True, verbose=True)
    assert "Downloading" in "".join(capfd.readouterr())


# Without a network


@pytest.fixture
def offline(server):
    """Close the server, so that nobody answers."""
    server.close()
    return server


def test_offline_file_that_is_no_zip(server, cache):
    """Its place is that of the file itself."""
    server.add("data/note.txt", b"hello")
    server.faults["note.txt"] = [("status", 404, {})]
    place = cache / "osf" / "by2tc" / "note.txt"
    with pytest.raises(ConnectionError) as error:
        fetch_osf("note.txt")
    assert str(error.value).endswith(f"to {place}")
    server.close()
    place.write_bytes(b"hello")
    assert fetch_osf("note.txt") == place


def test_offline(offline, cache):
    """The error says which file to get from where, and the place from where it is taken."""
    with pytest.raises(ConnectionError) as error:
        fetch_osf("notts_x")
    message = str(error.value)
    place = cache / "osf" / "by2tc" / "notts_x.zip"
    assert "https://osf.io/by2tc/files, data/notts_x.zip" in message
    assert f"to {place}" in message
    place.write_bytes(zipped({"array0.npy": npy(noise())}))
    (raw,) = fetch_osf("notts_x")
    assert raw.n_times == 500
    (raw,) = fetch_osf("notts_x")
    assert raw.n_times == 500


@pytest.mark.parametrize("is_right", [True, False])
def test_put_there_by_hand(server, cache, is_right):
    """A file that was put there is taken if it has the hash OSF gives."""
    server.add("data/set.zip", zipped({"x.txt": b"right"}))
    place = cache / "osf" / "by2tc" / "set.zip"
    place.parent.mkdir(parents=True)
    place.write_bytes(server.files["data/set.zip"] if is_right else zipped({"x.txt": b"wrong"}))
    assert (fetch_osf("set") / "x.txt").read_bytes() == b"right"
    assert len(server.downloads("set.zip")) == (0 if is_right else 1)


@pytest.mark.parametrize("is_right", [True, False])
def test_put_there_by_hand_after_the_hash_was_known(server, cache, is_right):
    """The hash of an earlier call counts where there is no network now."""
    server.add("data/set.zip", zipped({"x.txt": b"right"}))
    server.faults["set.zip"] = [("status", 404, {})]
    with pytest.raises(ConnectionError, match=r"/download/data/set.zip\n    to .*set.zip"):
        fetch_osf("set")
    server.close()
    place = cache / "osf" / "by2tc" / "set.zip"
    place.write_bytes(server.files["data/set.zip"] if is_right else zipped({"x.txt": b"wrong"}))
    if is_right:
        assert (fetch_osf("set") / "x.txt").read_bytes() == b"right"
    else:
        with pytest.raises(ConnectionError, match="is there, but has not the hash"):
            fetch_osf("set")
        assert place.is_file()


# Zip files


def link():
    """Make a member that is a link."""
    member = zipfile.ZipInfo("link")
    member.external_attr = (stat.S_IFLNK | 0o777) << 16
    return member


@pytest.mark.parametrize(
    "member",
    [
        "../out.txt",
        "a/../../out.txt",
        "/out.txt",
        "..\\out.txt",
        "C:\\out.txt",
        "\\out.txt",
        link(),
    ],
    ids=str,
)
def test_members_that_leave_the_folder(server, cache, member):
    """Nothing at all is unpacked then."""
    server.add("data/set.zip", zipped({"good.txt": b"good", member: b"/etc/passwd"}))
    with pytest.raises(OSError, match="out of its folder; nothing was unpacked"):
        fetch_osf("set")
    assert whole_files(cache.parent) == ["cache/osf/by2tc/set.json", "cache/osf/by2tc/set.zip"]


def test_no_zip_file(server, cache):
    """A file that is none by its content is said to be none."""
    server.add("data/set.zip", b"<html></html>")
    with pytest.raises(OSError, match=r"set.zip cannot be unpacked.*not a zip file"):
        fetch_osf("set")
    assert not (cache / "osf" / "by2tc" / "set").exists()


# Several at once

FETCH = """
import sys, pathlib
from mne_hmm.datasets import fetch_osf
pathlib.Path(sys.argv[1]).touch()
print((fetch_osf("set") / "x.txt").read_text())
"""


def test_two_processes_at_once(server, cache, tmp_path):
    """One downloads, the other waits for it; both get the same."""
    gate = threading.Event()
    server.add("data/set.zip", zipped({"x.txt": b"both"}))
    server.faults["set.zip"] = [gate, gate]
    ready = [tmp_path / f"ready{i_process}" for i_process in range(2)]
    with ChildProcess(FETCH, ready[0]) as first, ChildProcess(FETCH, ready[1]) as second:
        try:
            wait_for(lambda: all(path.exists() for path in ready) and server.downloads("set.zip"))
            time.sleep(0.3)  # for the second to come as far as the first
        finally:
            gate.set()
        assert [process.end()[0].split()[-1] for process in (first, second)] == ["both", "both"]
    assert len(server.downloads("set.zip")) == 1


def test_one_that_died_is_not_waited_for(server, cache):
    """A lock file that is left behind holds nobody up."""
    server.add("data/set.zip", zipped({"x.txt": b"x"}))
    (cache / "osf" / "by2tc").mkdir(parents=True)
    (cache / "osf" / "by2tc" / ".set.lock").write_bytes(b"")
    assert (fetch_osf("set") / "x.txt").read_bytes() == b"x"


# Registries and atlases


def test_registries_are_in_the_package(test_data):
    """Both lists of files, equal to those that were computed."""
    for registry, n_files in (("canonical-hmm", 450), ("parcellation", 16)):
        text = (files("mne_hmm.datasets") / "registry" / f"{registry}.txt").read_text()
        assert text == (test_data / f"registry-{registry}.txt").read_text()
        assert len(read_registry(registry)) == n_files


def test_registered_files(mirror, cache):
    """They come from their commit and keep their names, with permissions as other files have."""
    fnames = [f"models/Giles38/08_states/{name}.npy" for name in ("covs", "trans_prob")]
    covs, trans_prob = fetch_registered("canonical-hmm", fnames)
    assert covs == cache / "canonical-hmm" / fnames[0]
    assert np.load(covs).shape == (8, 80, 80)
    np.testing.assert_allclose(np.load(trans_prob).sum(axis=1), 1, rtol=1e-6)
    commit = "370ecd745dc6a492f1cf808180d57a495a489725"
    expected = [f"/OHBA-analysis/Canonical-HMM-Networks/{commit}/{fname}" for fname in fnames]
    assert [path for path, _ in mirror.asked] == expected
    (cache / "other").touch()
    assert covs.stat().st_mode == (cache / "other").stat().st_mode
    mirror.close()
    assert fetch_registered("canonical-hmm", fnames) == [covs, trans_prob]


@pytest.mark.parametrize("name", [*ATLASES, "MNI152_T1_8mm_brain"])
def test_atlases(mirror, cache, name):
    """Each by its short name."""
    img = nibabel.load(fetch_atlas(name))
    digits = "".join(filter(str.isdigit, name.partition("-")[0]))
    assert img.shape[3:] == (() if name.startswith("MNI") else (int(digits),))


@pytest.mark.parametrize("name", ["Giles38", "giles38", GILES, GILES.removesuffix(".nii.gz")])
def test_atlas_names(mirror, cache, name):
    """Short or whole, with or without its ending."""
    assert fetch_atlas(name).name == GILES


@pytest.mark.parametrize("name", ["Giles40", "Schaefer100", "", "../Giles38"])
def test_atlas_that_is_not_there(server, cache, name):
    """The error lists those that are."""
    with pytest.raises(ValueError, match="is none of the atlases") as error:
        fetch_atlas(name)
    assert all(atlas in str(error.value) for atlas in ATLASES)
    assert server.asked == []


def test_atlas_for_parcels(mirror, cache):
    """What is fetched works where atlases are taken."""
    atlas = fetch_atlas("Giles38")
    img = nibabel.load(atlas)
    data = np.random.default_rng(0).standard_normal((*img.shape[:3], 20)).astype(np.float32)
    brain = nibabel.Nifti1Image(data, img.affine)
    brain.header.set_zooms((*img.header.get_zooms()[:3], 2.0))
    brain.header.set_xyzt_units("mm", "sec")
    assert len(mne_hmm.parcellate_nifti(brain, atlas).ch_names) == 38


def test_registered_offline(offline, cache):
    """Every file that is missing is named, with its address and its place."""
    with pytest.raises(ConnectionError) as error:
        fetch_atlas("Giles38")
    fname = f"osl_dynamics/files/parcellation/{GILES}"
    assert f"{offline.url}/{PLACES['parcellation']}/{fname}\n    to " in str(error.value)
    assert str(cache / "parcellation" / fname) in str(error.value)


def test_registered_with_wrong_hash(server, cache, tmp_path):
    """Files of another commit are refused."""
    folder = tmp_path / "mirror"
    folder.mkdir()
    (folder / GILES).write_bytes(b"something else")
    server.mirrors[f"{PLACES['parcellation']}/osl_dynamics/files/parcellation"] = folder
    with pytest.raises(OSError, match="did not bring the file it should"):
        fetch_atlas("Giles38")
    assert whole_files(cache) == []


# The real sites


@pytest.mark.network
def test_real_osf(cache):
    """The data set that the field's first tutorial trains on."""
    data = fetch_osf("notts_meguk_giles_prepared_1_subject")
    assert isinstance(data, mne_hmm.PreparedData)
    assert data.n_features == 80


@pytest.mark.network
def test_real_osf_lists_its_files(cache):
    """The names that the documentation speaks of are there."""
    with pytest.raises(ValueError, match="no file of project") as error:
        fetch_osf("no_such_data_set")
    for name in ("notts_meguk_giles_5_subjects", "wakeman_henson_giles_5_subjects"):
        assert name in str(error.value)


@pytest.mark.network
def test_real_github(cache):
    """The atlas is where its address says."""
    assert nibabel.load(fetch_atlas("Giles38")).shape[3] == 38
