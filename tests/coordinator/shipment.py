"""A large shard that nobody trained, claimed and ready to be shipped by the owner's own code."""

from dataclasses import replace
from pathlib import Path

from coordinator.federation import GROUP, World, terms

from severable_client.home import Layout
from severable_coordinator.ports import RecipeRecord
from severable_trust.digest import Digest, FileDigest, measure
from severable_trust.shard import CONFIG, MANIFEST, WEIGHTS, GateReport, ShardClaim
from severable_trust.statement import read_unverified, sign_statement
from severable_trust.tensors import TensorSpec

CLAIM = "claim.dsse.json"
CONFIG_BYTES, MANIFEST_BYTES = b"{}", b'{"made":"for a shipment"}'


def lay_out(world: World, name: str, folder: Path, weights: Path, tensors: dict[str, TensorSpec]) -> None:
    """Let a party join and agree, open a task for it, and lay its keys (`home`), files and claim into a folder.

    Args:
        world: the coordinator.
        name: the party.
        folder: where everything is laid; made here.
        weights: the weights file, linked to.
        tensors: what is in it.
    """
    layout = Layout(folder / "home")
    owner = world.join(name)
    shapes = {key: (spec.dtype, spec.shape) for key, spec in tensors.items()}
    body = b'{"name":"shipment"}'
    recipe = RecipeRecord(digest=Digest.of(body), body=body, config=CONFIG_BYTES, tensors=shapes)
    offered = world.coordinator.contracting.offer(name, recipe, terms(recipients=(GROUP,)))
    world.coordinator.contracting.accept(name, offered.countersigned(owner.signer))
    _, tasks = world.coordinator.training.open_batch(recipe.digest, frozenset({name}))
    for made in (layout.keys, layout.trust):
        made.mkdir(parents=True)
    layout.authority.write_bytes(world.coordinator.authority.certificate)
    layout.tls_key.write_bytes(owner.tls_pem())
    layout.tls_certificate.write_bytes(world.certificates[name])
    (folder / WEIGHTS).symlink_to(weights)
    (folder / CONFIG).write_bytes(CONFIG_BYTES)
    (folder / MANIFEST).write_bytes(MANIFEST_BYTES)
    usual = world.claim(
        name,
        {CONFIG: CONFIG_BYTES, MANIFEST: MANIFEST_BYTES, WEIGHTS: b""},
        nonce=tasks[0].nonce,
        contract=Digest.parse(tasks[0].contract),
        recipe=recipe.digest,
    )
    claim = replace(
        read_unverified(usual, ShardClaim),
        files=tuple(_measured(folder / file) for file in (CONFIG, MANIFEST, WEIGHTS)),
        gate=GateReport(finite=True, images=64, bytes=weights.stat().st_size, memorized_share=0.0),
    )
    (folder / CLAIM).write_bytes(sign_statement(claim, owner.signer).to_bytes())


def _measured(path: Path) -> FileDigest:
    with path.open("rb") as stream:
        size, digest = measure(stream)
    return FileDigest(name=path.name, size=size, digest=digest)
