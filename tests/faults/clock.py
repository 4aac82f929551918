"""A clock that is wrong for one process and its children: a library, loaded before the C library, that shifts the time.

The shift is a number of seconds in a file and can change while they run. It is the time of day that is shifted, for
Python, OpenSSL and gRPC alike; clocks that only go forward are left alone.
"""

import subprocess
from dataclasses import dataclass
from pathlib import Path

from tools import require_tools

# No header is included, so that a compiler alone is enough.
_SOURCE = r"""
struct spec { long seconds, nanoseconds; };
struct value { long seconds, microseconds; };
extern void *dlsym(void *, const char *), *mmap(void *, unsigned long, int, int, int, long);
extern int open(const char *, int, ...);
extern char *getenv(const char *);
static int (*real)(int, struct spec *);
static volatile long *shift;

__attribute__((constructor)) static void begin(void) {
    const char *path = getenv("FAULTS_CLOCK");
    int file = path ? open(path, 0) : -1;
    void *mapped = file < 0 ? (void *)-1 : mmap((void *)0, sizeof(long), 1, 1, file, 0);
    if (mapped != (void *)-1) shift = mapped;
}

int clock_gettime(int clock, struct spec *now) {
    if (!real) real = (int (*)(int, struct spec *))dlsym((void *)-1, "clock_gettime");
    int failed = real(clock, now);
    if (!failed && shift && (clock == 0 || clock == 5)) now->seconds += *shift;
    return failed;
}

int gettimeofday(struct value *now, void *zone) {
    struct spec exact;
    (void)zone;
    if (clock_gettime(0, &exact)) return -1;
    now->seconds = exact.seconds;
    now->microseconds = exact.nanoseconds / 1000;
    return 0;
}

long time(long *now) {
    struct spec exact;
    if (clock_gettime(0, &exact)) return -1;
    if (now) *now = exact.seconds;
    return exact.seconds;
}
"""


@dataclass(frozen=True)
class WrongClock:
    """A clock for the environment of a process.

    Attributes:
        library: what is loaded first.
        shift: the file with the seconds.
    """

    library: Path
    shift: Path

    @classmethod
    def made(cls, folder: Path, seconds: int) -> "WrongClock":
        """Compile the library; skips the test where there is no compiler."""
        require_tools("gcc")
        source = folder / "clock.c"
        source.write_text(_SOURCE)
        clock = cls(folder / "clock.so", folder / "clock.shift")
        words = ["gcc", "-shared", "-fPIC", "-O1", "-nostdlib", "-fno-builtin", "-o", str(clock.library), str(source)]
        subprocess.run(words, check=True, capture_output=True)
        clock.set(seconds)
        return clock

    @property
    def environment(self) -> dict[str, str]:
        """What loads it."""
        return {"LD_PRELOAD": str(self.library), "FAULTS_CLOCK": str(self.shift)}

    def set(self, seconds: int) -> None:
        """Set the clock wrong by so many seconds, or right; those that run see it at once."""
        data = seconds.to_bytes(8, "little", signed=True)
        if not self.shift.exists():
            self.shift.write_bytes(data)
        with self.shift.open("r+b") as stream:  # in place: the file is mapped
            stream.write(data)
