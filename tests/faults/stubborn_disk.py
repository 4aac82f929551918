"""A disk that refuses to delete, for one process and its children: a library, loaded before the C library.

Unlinking a file whose name ends in a given way fails with an input/output error for as long as a flag is set in a file.
"""

import subprocess
from dataclasses import dataclass
from pathlib import Path

from tools import require_tools

# No header is included, so that a compiler alone is enough. Error 5 is EIO.
_SOURCE = r"""
extern void *dlsym(void *, const char *);
extern int *__errno_location(void);
extern char *getenv(const char *);
extern int access(const char *, int);
extern unsigned long strlen(const char *);
extern int strcmp(const char *, const char *);

int unlink(const char *path) {
    const char *flag = getenv("FAULTS_DISK"), *ending = getenv("FAULTS_DISK_ENDING");
    unsigned long all = strlen(path), part = ending ? strlen(ending) : 0;
    if (flag && ending && all >= part && !strcmp(path + all - part, ending) && !access(flag, 0)) {
        *__errno_location() = 5;
        return -1;
    }
    return ((int (*)(const char *))dlsym((void *)-1, "unlink"))(path);
}
"""


@dataclass(frozen=True)
class StubbornDisk:
    """A disk for the environment of a process.

    Attributes:
        library: what is loaded first.
        flag: the file that makes it refuse.
        ending: how the names end that it keeps.
    """

    library: Path
    flag: Path
    ending: str

    @classmethod
    def made(cls, folder: Path, ending: str) -> "StubbornDisk":
        """Compile the library; it refuses from now on. Skips the test where there is no compiler."""
        require_tools("gcc")
        source = folder / "disk.c"
        source.write_text(_SOURCE)
        disk = cls(folder / "disk.so", folder / "disk.refuses", ending)
        words = ["gcc", "-shared", "-fPIC", "-O1", "-nostdlib", "-fno-builtin", "-o", str(disk.library), str(source)]
        subprocess.run(words, check=True, capture_output=True)
        disk.flag.touch()
        return disk

    @property
    def environment(self) -> dict[str, str]:
        """What loads it."""
        return {
            "LD_PRELOAD": str(self.library),
            "FAULTS_DISK": str(self.flag),
            "FAULTS_DISK_ENDING": self.ending,
        }

    def relent(self) -> None:
        """Let it delete again; those that run see it at once."""
        self.flag.unlink()
