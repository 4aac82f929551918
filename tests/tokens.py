"""A real PKCS#11 token for tests: SoftHSM in a folder of its own.

Needs Debian's softhsm2 (`.ci/debian` installs it) and the extra `severable-trust[hsm]`.
"""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from severable_trust.keys import PublicKey

PIN = "4711"
LABEL = "federation"
_MODULE = Path("/usr/lib/softhsm/libsofthsm2.so")


@dataclass(frozen=True)
class Token:
    """A token with P-256 keys by their ids."""

    keys: dict[int, PublicKey]

    def uri(self, key: int) -> str:
        return f"hsm:{key}?label={LABEL}"


@contextmanager
def soft_token(folder: Path, *numbers: int) -> Iterator[Token]:
    """A token with a fresh key of each number; the environment names it for the block."""
    if not _MODULE.is_file():
        if os.environ.get("SEVERABLE_REQUIRE_TOOLS"):
            pytest.fail("softhsm2 is not installed; run .ci/debian")
        pytest.skip("softhsm2 is not installed; run .ci/debian")
    (folder / "tokens").mkdir(parents=True)
    (folder / "softhsm2.conf").write_text(f"directories.tokendir = {folder}/tokens\nobjectstore.backend = file\n")
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("SOFTHSM2_CONF", str(folder / "softhsm2.conf"))
        environment.setenv("PYKCS11LIB", str(_MODULE))
        command = ["softhsm2-util", "--init-token", "--free", "--label", LABEL, "--pin", PIN, "--so-pin", "0000"]
        subprocess.run(command, check=True, capture_output=True)
        yield Token({number: _generate(number) for number in numbers})


def _generate(number: int) -> PublicKey:
    import pkcs11  # an extra
    from pkcs11.util.ec import encode_ec_public_key, encode_named_curve_parameters  # as above

    library = pkcs11.lib(str(_MODULE))
    library.reinitialize()  # SoftHSM reads its configuration once; another test's token may have been open
    with library.get_token(token_label=LABEL).open(user_pin=PIN, rw=True) as session:
        curve = {pkcs11.Attribute.EC_PARAMS: encode_named_curve_parameters("secp256r1")}
        parameters = session.create_domain_parameters(pkcs11.KeyType.EC, curve, local=True)
        public, _ = parameters.generate_keypair(store=True, id=bytes([number]), label=f"key {number}")
        return PublicKey(encode_ec_public_key(public))
