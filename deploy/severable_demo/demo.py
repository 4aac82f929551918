"""`make demo`: train, route, compose, remove, prove, in one go. Each function is one stage."""

import filecmp
import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from severable_demo.data import OWNERS, Folders, write_folders
from severable_demo.federation import Federation
from severable_demo.isolation import make_stranger
from severable_demo.processes import Processes, StepFailedError
from severable_demo.report import Report

LEAVER = "agency"
_MARK = ".severable-demo"  # says that a directory is a demo's, and may be made anew
_MANIFEST = "composite.dsse.json"
_IMAGES = 30


@dataclass(frozen=True, slots=True)
class Demo:
    """A walk through the federation's life, into one output directory."""

    out: Path
    recipe: Path
    processes: Processes
    report: Report

    @property
    def federation(self) -> Federation:
        """The federation below the output directory."""
        images = {owner: self.out / "images" / owner for owner in OWNERS}
        return Federation(self.processes, self.out / "federation", images)

    def run(self) -> None:
        """All nine stages."""
        folders = write_folders(self.out / "images")
        self.report.figures["images"] = dict(folders.counts)
        self._found()
        self._train()
        self._compose()
        measured = self._look(folders)
        self._remove()
        self._measured(measured)
        self._prove()

    def _found(self) -> None:
        federation, report = self.federation, self.report
        with report.stage(1, "coordinator", "a coordinator starts: SuperLink and its own mutual-TLS service"):
            federation.start_coordinator()
        with report.stage(2, "join", "three data owners join; each has its own directory, keys and SuperNode"):
            federation.join()
        with report.stage(3, "contracts", "a contract per owner is offered, reviewed, signed by both sides"):
            federation.agree(self.recipe, min_images=100, ceiling=0.1)
            federation.await_owners()

    def _train(self) -> None:
        with self.report.stage(4, "train", "every owner trains its shard at home, signs it and ships it"):
            self.federation.train()
            self.report.figures["shards_admitted"] = len(self.federation.listing("shards", "list"))

    def _compose(self) -> None:
        with self.report.stage(
            5, "compose", "banks are drawn, the router is trained on them, a composite is assembled"
        ):
            self.report.figures["composite_before"] = self.federation.compose(self.out / "composite-before")
            self._path("composite_before", self.out / "composite-before")

    def _look(self, folders: Folders) -> Callable[[], None]:
        """Sample, and let a licensee begin to measure its copy; the returned call waits for the figures."""
        with self.report.stage(6, "sample", "the composite is sampled, each image with its attribution"):
            names = self.out / "names.json"
            shards = self.federation.listing("shards", "list")
            names.write_text(json.dumps({str(row["id"]).removeprefix("sha256:"): row["party"] for row in shards}))
            measured = self.processes.begin(lambda: self._evaluate(folders.held_out, names))
            self.federation.sample(self.out / "before", _IMAGES)
            self._pictures("before")
            return measured

    def _measured(self, wait: Callable[[], None]) -> None:
        with self.report.stage(
            7, "evaluate", "the licensee's figures: distances to real digits that nobody trained on"
        ):
            wait()
            self.report.figures["frechet"] = json.loads((self.out / "frechet.json").read_text())

    def _evaluate(self, held_out: Path, names: Path) -> None:
        self.processes.run(
            "python", "-P", str(Path(__file__).with_name("evaluation.py")),
            "--composite", str(self.out / "composite-before"), "--images", str(held_out),
            "--names", str(names), "--out", str(self.out / "frechet.json"),
        )  # fmt: skip

    def _remove(self) -> None:
        federation, report = self.federation, self.report
        with report.stage(8, "remove", f"{LEAVER} ends its contract; its shard is erased, the rest rebuilt; a second "
                          "coordinator, which never saw that shard, puts the same two together"):  # fmt: skip
            federation.terminate(LEAVER, "consent withdrawn")
            handover = federation.hand_over()
            said: dict[str, str] = {}
            federation.processes.together(
                lambda: said.update(after=self._removed()),
                lambda: said.update(again=federation.reproduce(handover, self.out / "composite-reproduced")),
            )
            self._pictures("after")
            report.figures |= {
                "composite_after": said["after"],
                "composite_reproduced": said["again"],
                "digest_equal": said["after"] == said["again"],
                "files_differing": differing(self.out / "composite-after", self.out / "composite-reproduced"),
            }
            print(f"  digest after the removal: {said['after']}\n  second coordinator:       {said['again']}")
            self._path("composite_after", self.out / "composite-after")
            self._path("composite_reproduced", self.out / "composite-reproduced")

    def _removed(self) -> str:
        after = self.federation.remove(LEAVER, self.out / "receipt.json")
        shutil.copytree(self.federation.assembled(after), self.out / "composite-after")
        self.federation.sample(self.out / "after", _IMAGES)
        self.report.figures["proved_from_scratch"] = self.federation.prove(LEAVER)
        return after

    def _prove(self) -> None:
        with self.report.stage(9, "verify", "a stranger verifies the receipt offline, with the trust package alone"):
            receipt, altered = self.out / "receipt.json", self.out / "receipt-altered.json"
            root = shutil.copy(self.federation.coordinator / "trust-root.json", self.out)
            data = bytearray(receipt.read_bytes())
            data[len(data) // 2] ^= 1
            altered.write_bytes(data)
            stranger = make_stranger(self.out / "stranger")
            if reachable := stranger.importable():
                raise StepFailedError(f"the stranger's environment can import {', '.join(reachable)}")
            good = stranger.verify("receipt", str(receipt), "--trust-root", str(root))
            bad = stranger.verify("receipt", str(altered), "--trust-root", str(root))
            composite = stranger.verify("composite", str(self.out / "composite-after"), "--trust-root", str(root))
            self.federation.export_log(self.out / "log.json")
            log = stranger.verify("log", str(self.out / "log.json"), "--trust-root", str(root))
            print(f"{good.text}\n\naltered copy: {bad.text}\n{composite.text}\n\n{log.text}")
            self.report.figures |= {
                "receipt_verified": good.status == 0,
                "altered_receipt_refused": bad.status == 1,
                "altered_receipt_reason": bad.text,
                "composite_verified": composite.status == 0,
                "log_verified": log.status == 0,
                "verifier_packages": list(stranger.packages),
            }
            self.federation.report(LEAVER, self.out / "before" / "grid.png", self.out / "removal.html")
            for path in (receipt, altered, Path(root), self.out / "log.json", self.out / "removal.html"):
                self._path(path.stem.replace("-", "_"), path)

    def _pictures(self, when: str) -> None:
        for name in ("grid.png", "weights.png", "attribution.json"):
            self._path(f"{when}_{Path(name).stem}", self.out / when / name)

    def _path(self, name: str, path: Path) -> None:
        self.report.paths[name] = path.relative_to(self.out).as_posix()


def differing(left: Path, right: Path) -> list[str]:
    """Files, the signed manifest left out, that are not byte for byte the same in two composites."""
    names = sorted(
        {path.relative_to(root).as_posix() for root in (left, right) for path in root.rglob("*") if path.is_file()}
    )
    _, mismatch, errors = filecmp.cmpfiles(left, right, [name for name in names if name != _MANIFEST], shallow=False)
    return sorted([*mismatch, *errors])


def prepare(out: Path) -> None:
    """Make the output directory, anew if it is an earlier demo's. StepFailedError when it is something else."""
    if out.exists():
        if not (out / _MARK).is_file() and any(out.iterdir()):
            raise StepFailedError(f"{out}: there is something else in it; give another directory with --out")
        shutil.rmtree(out)
    out.mkdir(parents=True)
    (out / _MARK).touch()


def run_demo(out: Path, recipe: Path) -> Sequence[str]:
    """Run the demo; returns what it failed to show (nothing, if all is well). StepFailedError on a failed step."""
    prepare(out)
    report = Report()
    with Processes(out / "logs" / "commands.log") as processes:
        Demo(out, recipe, processes, report).run()
        report.paths["log_of_commands"] = "logs/commands.log"
        report.paths["report"] = "report.json"
        report.write(out / "report.json")
        print(f"\n{report.table()}\n\nall of it is in {out}")
    return report.misses()
