import subprocess
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)

from severable_trust.errors import MalformedError, SignatureError
from severable_trust.keys import PemSigner, PublicKey


def test_a_key_survives_its_pem() -> None:
    key = PemSigner.generate().public_key
    assert PublicKey.from_pem(key.pem) == key
    assert PublicKey.from_pem(key.pem.encode()) == key
    assert PublicKey(key.spki_der) == key


def test_a_signer_survives_its_private_pem() -> None:
    signer = PemSigner.generate()
    again = PemSigner(signer.private_pem())
    assert again.public_key == signer.public_key
    signer.public_key.verify(b"message", again.sign(b"message"))


def test_a_signature_over_other_bytes_is_refused() -> None:
    signer = PemSigner.generate()
    with pytest.raises(SignatureError):
        signer.public_key.verify(b"other", signer.sign(b"message"))


def test_a_signature_by_another_key_is_refused() -> None:
    with pytest.raises(SignatureError):
        PemSigner.generate().public_key.verify(b"message", PemSigner.generate().sign(b"message"))


@pytest.mark.parametrize("signature", [b"", b"0", b"\x30\x00", b"\x00" * 64])
def test_bytes_that_are_no_signature_are_refused(signature: bytes) -> None:
    with pytest.raises(SignatureError):
        PemSigner.generate().public_key.verify(b"message", signature)


def test_a_signature_with_trailing_bytes_is_refused() -> None:
    signer = PemSigner.generate()
    with pytest.raises(SignatureError):
        signer.public_key.verify(b"message", signer.sign(b"message") + b"\x00")


def test_a_key_of_another_kind_is_refused() -> None:
    spki = (Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    for private in (ec.generate_private_key(ec.SECP384R1()), ed25519.Ed25519PrivateKey.generate()):
        with pytest.raises(MalformedError, match="P-256"):
            PublicKey(private.public_key().public_bytes(*spki))
        with pytest.raises(MalformedError, match="P-256"):
            PemSigner(private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))


def test_a_compressed_point_is_refused_so_that_a_key_has_one_id() -> None:
    point = PublicKey.from_pem(PemSigner.generate().public_key.pem).spki_der[-65:]
    prefix = bytes.fromhex("3039301306072a8648ce3d020106082a8648ce3d030107032200")
    with pytest.raises(MalformedError, match="canonical"):
        PublicKey(prefix + bytes([2 + (point[-1] & 1)]) + point[1:33])


@pytest.mark.parametrize("data", [b"", b"not a key", b"\x30\x00"])
def test_bytes_that_are_no_key_are_refused(data: bytes) -> None:
    for make in (PublicKey, PublicKey.from_pem, PemSigner):
        with pytest.raises(MalformedError):
            make(data)
    with pytest.raises(MalformedError):
        PublicKey.from_pem("\u20ac")


def test_an_encrypted_private_key_is_refused_in_words() -> None:
    plain = load_pem_private_key(PemSigner.generate().private_pem(), None)
    secret = plain.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"secret"))
    with pytest.raises(MalformedError, match="unencrypted"):
        PemSigner(secret)


def test_a_signer_does_not_show_its_private_key() -> None:
    assert "PRIVATE" not in repr(PemSigner.generate())


def test_openssl_accepts_our_signature(tmp_path: Path) -> None:
    signer = PemSigner.generate()
    (tmp_path / "key.pem").write_text(signer.public_key.pem)
    (tmp_path / "signature").write_bytes(signer.sign(b"message"))
    (tmp_path / "message").write_bytes(b"message")
    command = ["openssl", "dgst", "-sha256", "-verify", "key.pem", "-signature", "signature", "message"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.stdout == "Verified OK\n"
