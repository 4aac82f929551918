"""What `data check` found, as a value, as JSON and as text. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from severable_client.catalogue import Catalogue, Trouble
from severable_client.likeness import BITS, THRESHOLD

SHOWN = 10  # examples of each kind, as text
KEPT = 1000  # examples of each kind, as JSON


@dataclass(frozen=True, slots=True, kw_only=True)
class DataReport:
    """A set of images, looked at one by one.

    Attributes:
        folder: where it is.
        images: how many could be read.
        bytes: of their files.
        classes: name and number of images.
        sizes: width and height in pixels, and number of images, the most frequent first.
        modes: colour mode as Pillow names it, and number of images, the most frequent first.
        troubles: what must be mended, the first 1,000.
        troubles_total: how many there are.
        exact: places of images whose files are the same bytes, a group each, the first 1,000.
        exact_total: how many images repeat another one's bytes.
        near: places of two images that look alike, and in how many bits they differ, the first 1,000.
        near_total: how many such pairs were found.
        near_complete: whether all were looked for.
        digest: what identifies the set; None where there is no home and so no salt.
        sub_shards: images of each sub-shard; empty where it was not asked for.
    """

    folder: str
    images: int
    bytes: int
    classes: tuple[tuple[str, int], ...]
    sizes: tuple[tuple[tuple[int, int], int], ...]
    modes: tuple[tuple[str, int], ...]
    troubles: tuple[Trouble, ...]
    troubles_total: int
    exact: tuple[tuple[str, ...], ...]
    exact_total: int
    near: tuple[tuple[str, str, int], ...]
    near_total: int
    near_complete: bool
    digest: Catalogue | None
    sub_shards: tuple[int, ...] = ()

    @property
    def well(self) -> bool:
        """Whether the set can be trained on: there are images, and nothing must be mended."""
        return self.images > 0 and self.troubles_total == 0


def as_plain(report: DataReport) -> dict[str, Any]:
    """Return the report as plain JSON values."""
    digest = report.digest
    return {
        "folder": report.folder,
        "ok": report.well,
        "images": report.images,
        "bytes": report.bytes,
        "classes": dict(report.classes),
        "sizes": [{"width": width, "height": height, "images": count} for (width, height), count in report.sizes],
        "modes": dict(report.modes),
        "to_mend": [{"place": trouble.place, "line": trouble.line} for trouble in report.troubles],
        "to_mend_total": report.troubles_total,
        "exact_duplicates": [list(group) for group in report.exact],
        "exact_duplicates_total": report.exact_total,
        "near_duplicates": [{"images": [one, two], "bits": bits} for one, two, bits in report.near],
        "near_duplicates_total": report.near_total,
        "near_duplicates_complete": report.near_complete,
        "near_duplicates_threshold": {"bits": THRESHOLD, "of": BITS},
        "sub_shards": list(report.sub_shards) or None,
        "digest": None if digest is None else {"images": digest.images, "root": str(digest.root)},
    }


def as_text(report: DataReport) -> list[str]:
    """Return the report as lines for people."""
    mebibytes = report.bytes / 2**20
    lines = [f"images: {report.images:,} in {report.folder}, {mebibytes:,.1f} MiB"]
    lines += _counted("classes", [(name, count) for name, count in report.classes])
    lines += _counted("sizes", [(f"{width}x{height}", count) for (width, height), count in report.sizes])
    lines += _counted("modes", list(report.modes))
    lines += _listed(
        f"exact duplicates: {report.exact_total:,} images repeat the bytes of another",
        [" = ".join(group[:4]) + (" = ..." if len(group) > 4 else "") for group in report.exact],
        len(report.exact),
    )
    more = "" if report.near_complete else " (there may be more)"
    lines += _listed(
        f"near duplicates: {report.near_total:,} pairs differ in at most {THRESHOLD} of {BITS} bits{more}",
        [f"{one} ~ {two} ({bits} bits)" for one, two, bits in report.near],
        report.near_total,
    )
    if report.digest is None:
        lines.append("digest: none, since there is no home yet to keep its salt")
    else:
        lines.append(f"digest: {report.digest.images:,} images, root {report.digest.root}")
    if report.sub_shards:
        sizes = ", ".join(f"{images:,}" for images in report.sub_shards)
        lines.append(f"sub-shards: {len(report.sub_shards)} of {sizes} images; a contract's least is of each")
    if 0 in report.sub_shards:
        lines.append("sub-shards: an empty one cannot be trained; agree on fewer")
    if not report.images:
        lines.append("to mend: there are no images; put some there, or one folder per class")
    troubles = [str(trouble) for trouble in report.troubles]
    return lines + _listed(f"to mend: {report.troubles_total:,}", troubles, report.troubles_total)


def _counted(what: str, counts: Sequence[tuple[str, int]]) -> list[str]:
    cells = [f"{name} {count:,}" for name, count in counts[:SHOWN]]
    more = f"; {len(counts) - SHOWN:,} more" if len(counts) > SHOWN else ""
    return [f"{what}: {'; '.join(cells) or 'none'}{more}"]


def _listed(head: str, lines: Sequence[str], total: int) -> list[str]:
    shown = [f"  {line}" for line in lines[:SHOWN]]
    return [head, *shown] + ([f"  and {total - SHOWN:,} more; --format json has up to 1,000"] if total > SHOWN else [])
