"""Figure 13: whom a composite credits, and whether that shard holds the class that a classifier sees in the sample.

Shapes: N samples, K shards, S steps.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import torch

from quality import builds
from quality.features import trained
from quality.routing import LEVELS
from quality.splits import owner_of
from severable_diffusion.composition import DrawAt

if TYPE_CHECKING:
    from quality.bench import Bench
    from quality.composites import Samples
    from quality.features import Features

LATE = (3.0, 8.0)
"""Noise levels sigma / alpha at which one shard is drawn."""
PATIENCE = 8
"""How many times longer the patient judge is trained than the feature network."""


def _owners(judge: Features, samples: Samples, split: str, names: tuple[str, ...]) -> torch.Tensor:
    """Return, for every sample, which shard holds the class that the judge sees in it."""
    owner_C = torch.tensor([names.index(owner_of(split, label)) for label in range(10)])
    return owner_C[judge.labels(samples.x_NCHW)]


def _agree(one_N: torch.Tensor, other_N: torch.Tensor) -> float:
    return float((one_N == other_N).double().mean())


def attribution(bench: Bench, split: str) -> dict[str, Any]:
    """Measure how often the credited shard holds the class that the feature network sees in the sample."""
    federation = bench.federation(split)
    names = federation.names
    drawn = bench.draw(federation, builds.joint(federation), "cumulative", "joint-cumulative")
    owner_N = _owners(bench.features, drawn, split, names)
    steps_S = torch.tensor(drawn.log_snr).clamp(-2.0 * math.log(LEVELS[-1]), -2.0 * math.log(LEVELS[0]))
    covered_S = torch.diff(steps_S, append=steps_S[-1:])
    credit = {
        "time_average": drawn.trajectory_SNK.mean(dim=0),
        "log_snr_weighted": (covered_S[:, None, None] * drawn.trajectory_SNK).sum(dim=0) / covered_S.sum(),
        "last_step": drawn.trajectory_SNK[-1],
    }
    found: dict[str, Any] = {name: _agree(credit_NK.argmax(dim=1), owner_N) for name, credit_NK in credit.items()}
    bound_N = drawn.realised_N >= 0
    found["realised"] = _agree(drawn.realised_N[bound_N], owner_N[bound_N])
    found["bound_share"] = float(bound_N.double().mean())
    realised_NK = torch.where(
        bound_N[:, None], torch.nn.functional.one_hot(drawn.realised_N.clamp_min(0), len(names)), credit["last_step"]
    )
    found["shares"] = {
        name: dict(zip(names, credit_NK.mean(dim=0).tolist(), strict=True))
        for name, credit_NK in (credit | {"realised": realised_NK}).items()
    }
    # Who drew it is known for certain where a sample was bound: does the credit before that name the same shard?
    named_N = credit["time_average"].argmax(dim=1)
    found["time_average_names_the_realised_shard"] = _agree(named_N[bound_N], drawn.realised_N[bound_N])
    prior = bench.draw(federation, None, "draw_once", "prior")
    own_N = _owners(bench.features, prior, split, names)
    found["classes_seen_in_each_shards_own_samples"] = _agree(prior.realised_N, own_N)
    return found


def remedies(bench: Bench, split: str) -> dict[str, Any]:
    """Measure what a more patient judge and one drawn shard a sample change, for a figure that falls short.

    With one shard drawn (`severable_diffusion.composition.DrawAt`, or by lambda at the start) the credit is exact: that
    shard made the sample from there on. What is missing to 1 is then the judge's, or the shard's own, mistake.
    """
    federation = bench.federation(split)
    built = builds.joint(federation)
    drawn = {
        "cumulative_last_step": bench.draw(federation, built, "cumulative", "joint-cumulative"),
        **{
            f"drawn_at_sigma_{noise:g}": bench.draw(federation, built, DrawAt(noise=noise), f"joint-late-{noise:g}")
            for noise in LATE
        },
        "drawn_by_lambda": bench.draw(federation, None, "draw_once", "prior"),
    }
    steps = PATIENCE * bench.size.features_steps
    patient = trained(bench.images, bench.folder, steps, name=bench.size.features, device=bench.run.device)
    return {
        name: {
            "accuracy_on_real_test_images": judge.accuracy,
            **{
                kind: _agree(credited(one), _owners(judge, one, split, federation.names)) for kind, one in drawn.items()
            },
        }
        for name, judge in {"feature_network": bench.features, "patient_judge": patient}.items()
    }


def credited(samples: Samples) -> torch.Tensor:
    """Return the shard that each sample is credited to: the one that it was bound to, else the last step's heaviest."""
    return torch.where(samples.realised_N >= 0, samples.realised_N, samples.trajectory_SNK[-1].argmax(dim=1))
