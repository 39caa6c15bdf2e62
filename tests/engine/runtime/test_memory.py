"""Memory goes back to the system when training has no use for it."""

import sys

import pytest

from mne_hmm.engine.runtime.memory import give_back_freed


def resident():
    """Megabytes of memory that this process holds."""
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("VmRSS")) / 1024


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs the C library of Linux")
def test_memory_that_was_freed_goes_back():
    # What is smaller than a page of its own stays with the C library, and the last of it
    # keeps all before it from going back unasked.
    held = [bytearray(8000) for _ in range(12_500)]
    last = held[-1]
    full = resident()
    del held
    kept = resident()
    give_back_freed()
    assert full - kept < 10
    assert kept - resident() > 80
    assert len(last) == 8000
