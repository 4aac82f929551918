"""gate.html: one page without network or script, for whoever decides whether a shard may leave."""

import base64
from html import escape
from typing import Any

from severable_client.inspection import Evidence
from severable_diffusion.memorization_pictures import plot_ratios, png, sheet, strip

SHOWN = 96  # samples on the sheet
SUSPECTS = 9

_STYLE = """
:root { color-scheme: light; --ink: #1f2933; --faint: #52606d; --line: #e4e7eb; --good: #0b6b50; --bad: #b0341c; }
* { box-sizing: border-box; }
body { margin: 0; background: #f5f7fa; color: var(--ink); font: 16px/1.5 system-ui, sans-serif; }
main { max-width: 60rem; margin: 0 auto; padding: 1.5rem 1rem 3rem; }
section, header { background: #fff; border: 1px solid var(--line); border-radius: 8px; padding: 1.1rem 1.4rem;
  margin-bottom: 1rem; }
header { border-left: 8px solid var(--tone); }
h1 { margin: 0 0 .3rem; font-size: 1.5rem; color: var(--tone); }
h2 { margin: 0 0 .5rem; font-size: 1.1rem; }
p { margin: .3rem 0 .6rem; }
.good { --tone: var(--good); } .bad { --tone: var(--bad); } .faint { color: var(--faint); font-size: .9rem; }
code { font: .85rem ui-monospace, monospace; overflow-wrap: anywhere; }
table { width: 100%; border-collapse: collapse; font-size: .93rem; }
th, td { text-align: left; vertical-align: top; padding: .45rem .6rem .45rem 0; border-top: 1px solid var(--line);
  overflow-wrap: anywhere; }
thead th { border-top: 0; color: var(--faint); font-weight: 600; }
.mark { width: 5.2rem; font-weight: 600; color: var(--tone); white-space: nowrap; }
.problem { color: var(--bad); }
img { max-width: 100%; height: auto; display: block; }
.suspects { display: grid; grid-template-columns: repeat(auto-fill, minmax(17rem, 1fr)); gap: 1rem; }
figure { margin: 0; } figcaption { font-size: .85rem; color: var(--faint); padding-top: .2rem; }
figcaption b { color: var(--tone, var(--ink)); }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .2rem 1rem; margin: .6rem 0 0; font-size: .9rem; }
dt { color: var(--faint); } dd { margin: 0; overflow-wrap: anywhere; }
@media print { body { background: #fff; } section, header { break-inside: avoid; } }
"""


def page(report: dict[str, Any], evidence: Evidence | None) -> str:
    """Return the page of a report (the values of gate.json) and the pictures behind it."""
    parts = [_head(report), _rules(report)]
    if evidence is not None:
        parts += [_ratios(report["memorization"], evidence), _suspects(evidence), _samples(evidence)]
    parts += [_files(report), _foot()]
    # The policy keeps the page from loading anything even if a name in it tried to.
    policy = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>Gate of job {escape(report['name'])}</title>\n<style>{_STYLE}</style></head>\n"
        f"<body><main>\n{''.join(parts)}</main></body></html>\n"
    )


def _head(report: dict[str, Any]) -> str:
    verdict = "This shard may leave" if report["passed"] else "This shard stays here"
    tone = "good" if report["passed"] else "bad"
    facts = {
        "job": report["name"],
        "asked for as": report["task"],
        "party": report["party"],
        "recipe": f"{report['recipe_name']} ({report['recipe']})",
        "contract": report["contract"],
        "looked at": report["at"],
    }
    rows = "".join(f"<dt>{escape(name)}</dt><dd>{escape(str(value))}</dd>" for name, value in facts.items())
    return f'<header class="{tone}"><h1>{verdict}</h1>{_next(report)}<dl>{rows}</dl></header>\n'


def _next(report: dict[str, Any]) -> str:
    failed = [rule["problem"] for rule in report["rules"] if not rule["holds"]]
    if failed:
        return "".join(f'<p class="problem">{escape(problem)}.</p>' for problem in failed)
    name = escape(report["name"])
    if report["release"] == "manual":
        return (
            "<p>Every rule holds. It waits for your decision:</p>"
            f"<p><code>severable-client release {name}</code><br>"
            f'<code>severable-client withhold {name} --reason "..."</code></p>'
        )
    return "<p>Every rule holds. This home is set to automatic release: it is sent now.</p>"


def _rules(report: dict[str, Any]) -> str:
    rows = "".join(_rule(rule) for rule in report["rules"])
    rest = "" if report["trained"] else "<p>Nothing was trained, so the other rules could not be looked at.</p>"
    head = "<thead><tr><th></th><th>rule</th><th>measured</th><th>allowed</th></tr></thead>"
    return f"<section><h2>Rules</h2><table>{head}<tbody>{rows}</tbody></table>{rest}</section>\n"


def _rule(rule: dict[str, Any]) -> str:
    tone, mark = ("good", "✓ holds") if rule["holds"] else ("bad", "✗ broken")
    cells = "".join(f"<td>{escape(str(rule[name]))}</td>" for name in ("rule", "measured", "limit"))
    return f'<tr><td class="mark {tone}">{mark}</td>{cells}</tr>'


def _ratios(seen: dict[str, Any], evidence: Evidence) -> str:
    said = (
        f"{seen['samples']} fresh samples were drawn from the weights that would leave. For each, the distance to the "
        "nearest training image is divided by the distance to the second nearest: a copy is much nearer to one "
        f"image than to any other. Below 1/3 it counts as one: {seen['copies']} do. The smallest ratio is "
        f"{seen['smallest_ratio']:.3f}, the median {seen['median_ratio']:.3f}."
    )
    picture = _image(plot_ratios(evidence.ratio_N), "Histogram of the ratios with the line at one third")
    return f"<section><h2>How near its samples come to your images</h2><p>{said}</p>{picture}</section>\n"


def _suspects(evidence: Evidence) -> str:
    cards = "".join(_card(place, evidence) for place in evidence.suspicious(SUSPECTS))
    said = "The samples that come nearest. Each: the sample, its nearest training image, the second nearest."
    return f'<section><h2>Most suspicious</h2><p>{said}</p><div class="suspects">{cards}</div></section>\n'


def _card(place: int, evidence: Evidence) -> str:
    three_3CHW = evidence.nearest_N2CHW.new_empty((3, *evidence.x_NCHW.shape[1:]))
    three_3CHW[0], three_3CHW[1:] = evidence.x_NCHW[place], evidence.nearest_N2CHW[place]
    copied = bool(evidence.copied_N[place])
    verdict = "counts as a copy" if copied else "not a copy"
    picture = _image(png(strip(three_3CHW)), f"Sample {place + 1} beside its two nearest training images")
    ratio = f"{float(evidence.ratio_N[place]):.3f}"
    tone = "bad" if copied else "good"
    return (
        f"<figure>{picture}<figcaption>sample {place + 1}, ratio {ratio}: "
        f'<b class="{tone}">{verdict}</b></figcaption></figure>'
    )


def _samples(evidence: Evidence) -> str:
    count = min(SHOWN, len(evidence.x_NCHW))
    picture = _image(png(sheet(evidence.x_NCHW[:SHOWN])), f"{count} samples of the shard")
    said = f"{count} of its samples, as drawn: what the coordinator's own bank will look like."
    return f"<section><h2>Samples</h2><p>{said}</p>{picture}</section>\n"


def _files(report: dict[str, Any]) -> str:
    if not report["files"]:
        return ""
    rows = "".join(
        f"<tr><td>{escape(file['name'])}</td><td>{file['bytes']:,} bytes</td>"
        f"<td><code>{escape(file['digest'])}</code></td></tr>"
        for file in report["files"]
    )
    said = "These files and a signed claim about them, and nothing else:"
    title = "What leaves" if report["passed"] else "What would have left"
    return f"<section><h2>{title}</h2><p>{said}</p><table>{rows}</table></section>\n"


def _foot() -> str:
    said = (
        "This page may show training images. It stays in the job's folder on this machine and is never sent; "
        "gate.json beside it holds the same figures without pictures."
    )
    return f'<p class="faint">{said}</p>\n'


def _image(data: bytes, words: str) -> str:
    return f'<img alt="{escape(words)}" src="data:image/png;base64,{base64.b64encode(data).decode()}">'
