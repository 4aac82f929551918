"""A process of many threads keeps its memory in few arenas, seen in the addresses that the kernel lists."""

import subprocess
import sys

import pytest

ARENA = 64 << 20  # bytes; glibc begins each one at a multiple of them (HEAP_MAX_SIZE on 64 bits)
PROGRAM = f"""
import ctypes, sys, threading
from severable_coordinator.adapters.arenas import share_arenas
if sys.argv[1] == "shared":
    share_arenas()
allocate = ctypes.CDLL(None).malloc
allocate.restype = ctypes.c_void_p
there = threading.Barrier(13)

def hold():
    allocate(1000)
    there.wait()
    there.wait()

for _ in range(12):
    threading.Thread(target=hold, daemon=True).start()
there.wait()
with open("/proc/self/maps") as maps:
    begins = [int(line.split("-")[0], 16) for line in maps if len(line.split()) == 5]
print(sum(begin % {ARENA} == 0 for begin in begins))
there.wait()
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_threads_share_two_arenas_where_each_would_have_its_own() -> None:
    counted = {
        how: int(subprocess.run([sys.executable, "-c", PROGRAM, how], capture_output=True, check=True).stdout)
        for how in ("shared", "apart")
    }
    if counted["apart"] < 4:
        pytest.skip("this C library makes no arena for each thread")
    assert counted["shared"] <= 2
