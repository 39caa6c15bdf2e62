"""Python processes that run a script, forked from one that has loaded what takes long to load.

To load TensorFlow, MNE-Python and SciPy takes longer than most scripts of tests do. On Linux, one
process beside each of pytest's, the template, loads them and computes nothing; every script runs in
a fork of it. Elsewhere, and where TensorFlow sees a GPU, whose driver does not survive a fork, a
script has an interpreter of its own, as `python -c` starts it.

Forks share the template's seed of string hashes, and what libraries read when they are loaded, as
``OMP_NUM_THREADS``. What is about the start of an interpreter, or the memory that one takes, is no
matter for them.
"""

import atexit
import contextlib
import functools
import gc
import importlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import warnings
from pathlib import Path

# What the template loads.
LOADED = ("mne", "mne_hmm.engine", "scipy.signal", "scipy.stats")


class ChildProcess:
    """A Python process that runs a script, in a process group of its own.

    It finds modules where tests do, and in the folders of ``path``. Its ``stdin`` and ``stdout``
    are pipes, as text. If it still runs after ``limit`` seconds, at the end of the ``with`` block
    or when pytest ends, it is killed with all that it has started.
    """

    def __init__(
        self,
        code,
        *args,
        environment=(),
        path=(),
        folder=None,
        ignore_warnings=False,
        limit=300.0,
        forked=True,
    ):
        request = {
            "code": code,
            "args": [*map(str, args)],
            "environment": {**os.environ, "PYTHONPATH": _search(path), **dict(environment)},
            "folder": str(Path(folder or ".").resolve()),
            "ignore_warnings": ignore_warnings,
        }
        template = _template() if forked else None
        start = template.fork if template else _start
        theirs_in, ours_in = os.pipe()
        ours_out, theirs_out = os.pipe()
        with contextlib.ExitStack() as stack:
            self.stdin = stack.enter_context(open(ours_in, "w"))
            self.stdout = stack.enter_context(open(ours_out))
            self._stderr = stack.enter_context(tempfile.TemporaryFile("w+", errors="replace"))
            self._process = start(request, [theirs_in, theirs_out, self._stderr.fileno()])
            self._files = stack.pop_all()
        os.close(theirs_in)
        os.close(theirs_out)
        self.pid = self._process.pid
        self._timer = threading.Timer(limit, self.kill)
        self._timer.daemon = True
        self._timer.start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.kill()
        self.wait()
        self._timer.cancel()
        with contextlib.suppress(BrokenPipeError):  # it did not read all that it was told
            self._files.close()

    def poll(self):
        """Status it ended with, as that of `subprocess.Popen`, or None if it runs."""
        return self._process.poll()

    def wait(self):
        """Wait for the end, and give the status."""
        return self._process.wait()

    def send_signal(self, number):
        """Send a signal to the process alone."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self):
        """Kill it and all that it has started."""
        if not hasattr(os, "killpg"):
            self._process.kill()
            return
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)

    def communicate(self):
        """Wait for the end; give what is left of stdout, and all of stderr."""
        out = self.stdout.read()
        self.wait()
        self._stderr.seek(0)
        return out, self._stderr.read()

    def line(self):
        """Wait for the next line on stdout."""
        line = self.stdout.readline()
        assert line, self.communicate()[1]
        return line.rstrip("\n")

    def end(self, status=0):
        """Wait for the end, and check the status; give what is left of stdout, and stderr."""
        out, err = self.communicate()
        assert self.poll() == status, out + err
        return out, err


def run_script(code, *args, **kwargs):
    """Run a script in a process that is to end well; give its stdout and stderr."""
    with ChildProcess(code, *args, **kwargs) as process:
        return process.end()


def _search(path=()):
    """Where scripts find modules: in folders, and where these tests do."""
    return os.pathsep.join(map(str, [*path, Path(__file__).parent, *sys.path]))


def _start(request, streams):
    """Start an interpreter."""
    options = ["-W", "ignore"] if request["ignore_warnings"] else []
    stdin, stdout, stderr = streams
    # A shell's processes in the background ignore Ctrl-C, and so would those that they start.
    listens = "__import__('signal').signal(2, __import__('signal').default_int_handler)"
    return subprocess.Popen(
        [sys.executable, *options, "-c", f"{listens}\n{request['code']}", *request["args"]],
        stdin=stdin,
        stdout=stdout,
        stderr=stderr,
        env=request["environment"],
        cwd=request["folder"],
        start_new_session=True,
    )


class _Forked:
    """A fork of the template, whose status comes through a pipe."""

    def __init__(self, pid, status):
        self.pid = pid
        self._status = status
        self._returncode = None

    def poll(self):
        if self._returncode is None and select.select([self._status], [], [], 0)[0]:
            return self.wait()
        return self._returncode

    def wait(self):
        if self._returncode is None:
            self._returncode = int(os.read(self._status, 20) or -signal.SIGKILL)
            os.close(self._status)
        return self._returncode


class _Template:
    """The process that is forked, seen from pytest's."""

    def __init__(self):
        self._connection, theirs = socket.socketpair()
        with theirs:
            code = f"exec(__import__('child_processes')._serve({theirs.fileno()}, {LOADED}))"
            self._process = subprocess.Popen(
                [sys.executable, "-c", code],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                env={**os.environ, "PYTHONPATH": _search()},
                pass_fds=[theirs.fileno()],
                start_new_session=True,
            )
        atexit.register(self.close)
        self.can_be_forked = self._connection.recv(1) == b"!"

    def fork(self, request, streams):
        """Run a script in a fork, with descriptors as its stdin, stdout and stderr."""
        ours, theirs = os.pipe()
        with tempfile.TemporaryFile("w+") as file:
            json.dump(request, file)
            file.seek(0)
            socket.send_fds(self._connection, [b"?"], [*streams, theirs, file.fileno()])
            pid = int(self._connection.recv(20))
        os.close(theirs)
        return _Forked(pid, ours)

    def close(self):
        """End it, and all that still run."""
        self._connection.close()
        self._process.wait()


@functools.cache
def _template():
    """Start the template when it is needed first; none where it cannot be forked."""
    if sys.platform != "linux" or not hasattr(os, "pidfd_open"):
        return None
    template = _Template()
    return template if template.can_be_forked else None


def _serve(descriptor, names):
    """Be the template: fork as often as asked, and give what is to be run in a fork."""
    for name in names:
        importlib.import_module(name)
    numpy, tensorflow = map(sys.modules.get, ("numpy", "tensorflow"))
    if tensorflow and tensorflow.config.list_physical_devices("GPU"):
        sys.exit()
    gc.freeze()  # forks neither look through what is loaded nor copy it, which takes longest
    connection = socket.socket(fileno=descriptor)
    connection.sendall(b"!")
    running = {}  # by the descriptor that says when it has ended: the process, and its status pipe
    while True:
        ready, _, _ = select.select([connection, *running], [], [])
        for ended in set(ready) - {connection}:
            pid, status = running.pop(ended)
            code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
            with contextlib.suppress(BrokenPipeError):
                os.write(status, str(code).encode())
            os.close(status)
            os.close(ended)
        if connection not in ready:
            continue
        message, descriptors, *_ = socket.recv_fds(connection, 1, 5)
        if not message:  # pytest has ended
            for pid, _ in running.values():
                os.killpg(pid, signal.SIGKILL)
            for pid, _ in running.values():
                os.waitpid(pid, 0)
            sys.exit()
        *streams, status, file = descriptors
        pid = os.fork()
        if pid == 0:
            os.setpgid(0, 0)
            for number, stream in enumerate(streams):
                os.dup2(stream, number)
            with open(file) as text:
                request = json.load(text)
            connection.close()
            for other, (_, pipe) in running.items():
                os.close(other)
                os.close(pipe)
            for other in (*streams, status):
                os.close(other)
            if numpy:
                numpy.random.seed()  # forks would draw the same
            return _become(request)
        with contextlib.suppress(PermissionError, ProcessLookupError):
            os.setpgid(pid, pid)  # whoever of both comes first
        running[os.pidfd_open(pid)] = pid, status
        for other in (*streams, file):
            os.close(other)
        connection.sendall(str(pid).encode())


def _become(request):
    """Take over what `python -c` would have been started with, and give the script."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    # What TensorFlow has set to be quiet stays.
    level = {name: os.environ[name] for name in {"TF_CPP_MIN_LOG_LEVEL"} & {*os.environ}}
    os.environ.clear()
    os.environ.update(level | request["environment"])
    os.chdir(request["folder"])
    sys.argv[:] = ["-c", *request["args"]]
    sys.path[:] = ["", *request["environment"]["PYTHONPATH"].split(os.pathsep), *sys.path]
    if request["ignore_warnings"]:
        warnings.simplefilter("ignore")
    return request["code"]
