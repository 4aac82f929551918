import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from trust.recalls import make_answer, make_recall, recall_bundle
from trust.samples import Federation, at, make_receipt, prove

from severable_trust.cli import main
from severable_trust.digest import Digest
from severable_trust.errors import LogError, MalformedError, SignatureError, StatementError, TrustError
from severable_trust.keyring import KeyRing
from severable_trust.keys import PemSigner
from severable_trust.recall import Answer, Artifact, Recall, RecallAnswer
from severable_trust.recall_bundle import RecallBundle, open_answer, verify_recall
from severable_trust.receipt import RecallNotice
from severable_trust.statement import Kind, open_statement, sign_statement

A, B = Digest.of(b"a"), Digest.of(b"b")
FORMATS = Path(__file__).resolve().parents[2] / "docs/formats"


@pytest.mark.parametrize(
    "change",
    [
        {"recall_id": "1"},
        {"recall_id": "0C6E8B8E-5D0C-4B5C-8F1E-2F6A9D3B7A55"},
        {"publisher": "a b"},
        {"recipient": "<script>"},
        {"artifact": "book"},
        {"shards": ()},
        {"shards": (A, A)},
        {"replacement": Digest.of(b"composite of three")},
        {"issued": at(8)},
        {"answer_by": at(13)},
    ],
)
def test_a_recall_with_a_field_out_of_range_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(StatementError):
        replace(make_recall(A), **change)


@pytest.mark.parametrize("change", [{"recipient": ""}, {"answer": "maybe"}, {"said_by": " "}])
def test_an_answer_with_a_field_out_of_range_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(StatementError):
        replace(make_answer(A), **change)


def test_a_recall_is_about_what_was_handed_out_and_about_the_removal() -> None:
    assert make_recall(A, B).in_toto_subjects() == (
        ("composite", Digest.of(b"composite of three")),
        ("removal", A),
    )
    assert replace(make_recall(A, B), artifact=Artifact.SHARDS).in_toto_subjects()[0][0] == "shards"


_RECALLS: list[dict[str, Any]] = [
    {"recipient": "a b"}, {"artifact": "book"}, {"shards": []}, {"extra": 1}, {"issued": "today"},
]  # fmt: skip
_ANSWERS: list[dict[str, Any]] = [
    {"recipient": ""}, {"answer": "maybe"}, {"said_by": " "}, {"said_by": None}, {"recall": "a"}, {"extra": 1},
]  # fmt: skip


@pytest.mark.parametrize(
    ("value", "changes"), [(make_recall(A), _RECALLS), (make_answer(A), _ANSWERS), (make_answer(A, "Ada"), _ANSWERS)]
)
def test_a_schema_takes_what_the_package_takes_and_refuses_what_it_refuses(
    value: Recall | RecallAnswer, changes: list[dict[str, Any]]
) -> None:
    schema = Draft202012Validator(json.loads((FORMATS / f"{value.KIND}.schema.json").read_text(encoding="utf-8")))
    Draft202012Validator.check_schema(schema.schema)
    schema.validate(value.to_predicate())
    for change in changes:
        altered = value.to_predicate() | change
        assert not schema.is_valid(altered), change
        with pytest.raises(TrustError):
            type(value).from_predicate(altered)


def test_a_recall_file_is_verified_with_the_trust_root_alone(federation: Federation) -> None:
    bundle = recall_bundle(federation)
    verified = verify_recall(bundle.to_bytes(), federation.root)
    assert verified.recall.value == make_recall(federation.request.id)
    assert (verified.log_index, verified.checkpoint.size) == (1, 3)
    assert RecallBundle.parse(bundle.to_bytes()) == bundle


def test_a_recall_by_a_stranger_or_of_another_publisher_is_refused(federation: Federation) -> None:
    value = make_recall(federation.request.id)
    for envelope, why in (
        (sign_statement(value, federation.keys.alice), "unknown key"),
        (sign_statement(replace(value, publisher="other"), federation.keys.coordinator), "publisher is other"),
    ):
        with pytest.raises(TrustError, match=why):
            verify_recall(recall_bundle(federation, envelope).to_bytes(), federation.root)


def test_a_recall_that_is_not_in_the_log_is_refused(federation: Federation) -> None:
    other = sign_statement(make_recall(A), federation.keys.coordinator)
    with pytest.raises(LogError, match="does not lead to the root"):
        verify_recall(replace(recall_bundle(federation), recall=other).to_bytes(), federation.root)


def test_every_change_of_one_byte_of_a_recall_file_is_refused(federation: Federation) -> None:
    data = recall_bundle(federation).to_bytes()
    for position in range(0, len(data), 7):  # every seventh: the parts' own tests take each byte
        altered = bytearray(data)
        altered[position] ^= 1 << position % 7
        with pytest.raises(TrustError):
            verify_recall(bytes(altered), federation.root)


def test_an_answer_is_taken_from_its_recipient_alone(federation: Federation) -> None:
    recall = verify_recall(recall_bundle(federation).to_bytes(), federation.root).recall
    museum, answer = PemSigner.generate(), make_answer(recall.id)
    assert open_answer(sign_statement(answer, museum).to_bytes(), recall, museum.public_key).value == answer
    with pytest.raises(SignatureError):
        open_answer(sign_statement(answer, federation.keys.bob).to_bytes(), recall, museum.public_key)
    for altered in (
        replace(answer, recall=A),
        replace(answer, recipient="other"),
        replace(answer, answered=at(13)),
        replace(answer, said_by="somebody"),
    ):
        with pytest.raises(StatementError):
            open_answer(sign_statement(altered, museum).to_bytes(), recall, museum.public_key)


def test_only_a_copy_that_is_kept_is_not_settled() -> None:
    assert [answer.value for answer in Answer if not answer.settles] == ["kept"]


def test_a_log_knows_who_must_have_signed_an_answer(federation: Federation) -> None:
    ring = KeyRing.of(federation.root, [federation.roster.value])
    own = replace(make_answer(A), recipient="bob")
    entered = replace(own, said_by="Bo Berg")
    keys = federation.keys
    assert ring.verify(Kind.RECALL_ANSWER, sign_statement(own, keys.bob))
    assert ring.verify(Kind.RECALL_ANSWER, sign_statement(entered, keys.coordinator))
    assert not ring.verify(Kind.RECALL_ANSWER, sign_statement(own, PemSigner.generate()))  # unverifiable here
    assert ring.verify(Kind.RECALL, sign_statement(make_recall(A), keys.coordinator))
    for value, signer in ((own, keys.alice), (own, keys.coordinator), (entered, keys.bob), (make_recall(A), keys.bob)):
        with pytest.raises(SignatureError, match="must be signed by"):
            ring.verify(value.KIND, sign_statement(value, signer))


def test_a_receipt_names_recalls_and_no_recipient(federation: Federation) -> None:
    notice = RecallNotice(
        recall=A, artifact=Artifact.COMPOSITE, recalled=B, replacement=None, answer_by=at(20), answer=None
    )
    receipt = replace(make_receipt(A, A, B), recalls=(notice,))
    proven = prove(receipt, federation.keys.coordinator)
    assert proven.value.recalls == (notice,)
    assert "recalls" not in make_receipt(A, A, B).to_predicate()  # a receipt without any keeps its bytes
    for wrong in ((), (notice, notice)):
        with pytest.raises(StatementError, match="recalls"):
            replace(receipt, recalls=wrong)


def site(federation: Federation, folder: Path) -> list[str]:
    (folder / "root.json").write_bytes(federation.root.to_bytes())
    (folder / "recall.json").write_bytes(recall_bundle(federation).to_bytes())
    return ["recall", str(folder / "recall.json"), "--trust-root", str(folder / "root.json")]


def test_a_recall_is_shown_in_words(federation: Federation, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(site(federation, tmp_path)) == 0
    shown = capsys.readouterr().out
    for words in ("verified: recall", "recipient: museum", "answer by: 2026-06-08T14:00:00Z"):
        assert words in shown


def test_a_recipient_signs_its_answer_with_the_verifier_alone(
    federation: Federation, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    museum, out = PemSigner.generate(), tmp_path / "answer.json"
    (tmp_path / "key.pem").write_bytes(museum.private_pem())
    words = site(federation, tmp_path)
    answering = ["--answer", "erased", "--key", str(tmp_path / "key.pem"), "--out", str(out)]
    assert main([*words, *answering]) == 0
    recall = verify_recall(recall_bundle(federation).to_bytes(), federation.root).recall
    assert open_answer(out.read_bytes(), recall, museum.public_key).value.answer is Answer.ERASED
    before = out.read_bytes()
    assert main([*words, *answering]) == 2  # never over a file
    assert out.read_bytes() == before
    assert main([*words, "--answer", "erased"]) == 1
    assert "belong together" in capsys.readouterr().err


def test_a_refused_recall_is_not_answered(federation: Federation, tmp_path: Path) -> None:
    words = site(federation, tmp_path)
    (tmp_path / "key.pem").write_bytes(PemSigner.generate().private_pem())
    altered = recall_bundle(federation, sign_statement(make_recall(A), federation.keys.bob)).to_bytes()
    (tmp_path / "recall.json").write_bytes(altered)
    out = tmp_path / "answer.json"
    assert main([*words, "--answer", "kept", "--key", str(tmp_path / "key.pem"), "--out", str(out)]) == 1
    assert not out.exists()


def test_an_answer_is_no_recall_and_no_acknowledgement(federation: Federation) -> None:
    envelope = sign_statement(make_answer(A), federation.keys.coordinator)
    with pytest.raises(StatementError, match="predicate type"):
        open_statement(envelope, Recall, [federation.keys.coordinator.public_key])
    assert open_statement(envelope, RecallAnswer, [federation.keys.coordinator.public_key]).value.note
    with pytest.raises(MalformedError):
        RecallBundle.parse(envelope.to_bytes())
