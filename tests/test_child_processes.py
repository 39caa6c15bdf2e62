"""Scripts in processes of their own: as `python -c` runs them, and never longer than allowed."""

import contextlib
import signal
import sys
import time
from pathlib import Path

import pytest
from child_processes import ChildProcess, run_script

SAYS = """
import os, sys, warnings
print(__name__, sys.argv, os.environ["WHO"], os.getcwd(), sorted(globals())[-3:])
print(sys.stdin.readline().strip(), os.getpid() == os.getpgid(0))
warnings.warn("careful")
sys.exit(3)
"""
STARTS_ANOTHER = """
import subprocess, sys, time
code = "import time; print('started', flush=True); time.sleep(60)"
other = subprocess.Popen([sys.executable, "-c", code])
print(other.pid, flush=True)
time.sleep(60)
"""
both = pytest.mark.parametrize("forked", [True, False], ids=["forked", "plain"])
reads_proc = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")


@both
def test_as_the_interpreter_would(forked, tmp_path):
    """Arguments, environment, folder, streams, warnings and status."""
    kwargs = {"environment": {"WHO": "me"}, "folder": tmp_path, "forked": forked}
    for ignored in (False, True):
        with ChildProcess(SAYS, "a", 1, ignore_warnings=ignored, **kwargs) as process:
            process.stdin.write("told\n")
            process.stdin.flush()
            names = ["os", "sys", "warnings"]
            assert process.line() == f"__main__ ['-c', 'a', '1'] me {tmp_path} {names}"
            out, err = process.end(status=3)
        assert out == f"told {sys.platform != 'win32'}\n"
        assert ("UserWarning: careful" in err) != ignored


@both
def test_errors(forked):
    """What is not caught is shown, and fails whoever wants a good end."""
    code = "import atexit\natexit.register(print, 'last')\nraise ValueError('wrong')"
    with ChildProcess(code, forked=forked) as process:
        out, err = process.end(status=1)
    assert out == "last\n"
    assert err.startswith("Traceback")
    assert err.endswith("\nValueError: wrong\n")
    with pytest.raises(AssertionError, match="ValueError: wrong"):
        run_script(code, forked=forked)


@pytest.mark.skipif(sys.platform == "win32", reason="needs SIGKILL")
@both
def test_signals(forked):
    """Ctrl-C is an exception, and a killed process says so."""
    code = """
import time
try:
    print("there", flush=True)
    time.sleep(60)
except KeyboardInterrupt:
    print("again", flush=True)
    time.sleep(60)
"""
    with ChildProcess(code, forked=forked) as process:
        assert process.line() == "there"
        assert process.poll() is None
        process.send_signal(signal.SIGINT)
        assert process.line() == "again"
        process.send_signal(signal.SIGKILL)
        assert process.wait() == process.poll() == -signal.SIGKILL


def wait_for_end(pid):
    """Wait until a process has ended, be it that nobody has asked for its status yet."""
    stat = Path(f"/proc/{pid}/stat")
    deadline = time.monotonic() + 30
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        while stat.read_text().rpartition(")")[2].split()[0] != "Z":
            assert time.monotonic() < deadline
            time.sleep(0.01)


@reads_proc
@both
@pytest.mark.parametrize("limit", [0.5, 300.0], ids=["limit", "block"])
def test_nothing_is_left(forked, limit):
    """After its time, or after the block, a process ends with those it has started."""
    with ChildProcess(STARTS_ANOTHER, limit=limit, forked=forked) as process:
        pid = int(process.line())
        assert process.line() == "started"
        if limit < 1:
            assert process.stdout.read() == ""  # all who could write have ended
            assert process.wait() == -signal.SIGKILL
    assert process.poll() == -signal.SIGKILL
    wait_for_end(pid)


@reads_proc
def test_forks_are_of_one_process_that_ends_with_pytest():
    """Whoever forks them is gone when the process that asked is, however that ended."""
    code = """
import os, signal
import child_processes
from child_processes import ChildProcess
child_processes.LOADED = ()  # as quick as can be
processes = [ChildProcess("import os; print(os.getppid(), flush=True); input()") for _ in range(2)]
parents = [process.line() for process in processes]
print(*parents, *(process.pid for process in processes), flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""
    with ChildProcess(code, forked=False) as process:
        first, second, *pids = map(int, process.line().split())
        assert process.wait() == -signal.SIGKILL
    assert first == second
    for pid in (first, *pids):
        wait_for_end(pid)
