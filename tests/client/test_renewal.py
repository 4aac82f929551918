"""The TLS certificate renews itself, and nothing but a fresh certificate for this very key takes its place."""

from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import pytest
from client.exchange_service import Log, Service, serving
from client.samples import Authority, Federation, make_home
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from severable_client.adapters import renewal
from severable_client.adapters.keys import certificate_request, certificate_term
from severable_client.adapters.upkeep import in_step
from severable_client.bootstrap import Home, open_home
from severable_client.errors import AnswerError, HomeError


@dataclass
class Fixed:
    """A renewer with one answer."""

    pem: bytes

    def renew_certificate(self, request_pem: bytes) -> bytes:
        assert request_pem
        return self.pem


def set_term(home: Home, federation: Federation, days: int) -> None:
    request = certificate_request(home.layout, home.config.party)
    home.layout.tls_certificate.write_bytes(federation.authority.certify(request, days))


def test_a_certificate_is_due_from_the_first_third_of_its_term_on(federation: Federation, tmp_path: Path) -> None:
    layout = open_home(make_home(federation, tmp_path)).layout
    begins, ends = certificate_term(layout)
    third = begins + (ends - begins) / 3
    assert not renewal.due(layout, third - timedelta(seconds=1))
    assert renewal.due(layout, third)
    assert renewal.due(layout, ends + timedelta(days=365))


def test_the_daemon_renews_over_mutual_tls_when_due_and_then_leaves_it(federation: Federation, tmp_path: Path) -> None:
    service = Service(certify=federation.authority.certify)
    with serving(service, federation) as address:
        home = open_home(make_home(federation, tmp_path, address))
        service.log, service.roster = Log(federation.log), home.layout.roster.read_bytes()
        set_term(home, federation, days=1)  # began yesterday, ends tomorrow: half is over
        before = certificate_term(home.layout)[1]
        in_step(home, lambda _: None)
        in_step(home, lambda _: None)
    assert service.renewals == 1
    assert certificate_term(home.layout)[1] > before
    assert service.callers == {home.config.party}


def test_an_expired_certificate_is_said_in_one_line_with_what_to_do(federation: Federation, tmp_path: Path) -> None:
    home = open_home(make_home(federation, tmp_path))
    set_term(home, federation, days=0)
    with pytest.raises(HomeError, match=r"certificate expired at .* certificate request"):
        in_step(home, lambda _: None)


def test_a_certificate_of_another_authority_is_refused_and_the_old_one_stays(
    federation: Federation, tmp_path: Path
) -> None:
    layout = open_home(make_home(federation, tmp_path)).layout
    before = layout.tls_certificate.read_bytes()
    foreign = Authority.make().certify(certificate_request(layout, "owner"))
    with pytest.raises(AnswerError, match="not from the authority"):
        renewal.renew(layout, "owner", Fixed(foreign))
    assert layout.tls_certificate.read_bytes() == before


def test_a_certificate_for_another_key_is_refused(federation: Federation, tmp_path: Path) -> None:
    first = open_home(make_home(federation, tmp_path / "a")).layout
    second = open_home(make_home(federation, tmp_path / "b")).layout
    others = federation.authority.certify(certificate_request(second, "b"))
    with pytest.raises(AnswerError, match="another key"):
        renewal.install(first, others)


@pytest.mark.parametrize("answer", [b"", b"garbage", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"])
def test_what_is_not_a_certificate_is_refused(federation: Federation, tmp_path: Path, answer: bytes) -> None:
    layout = open_home(make_home(federation, tmp_path)).layout
    with pytest.raises(AnswerError, match="is not one"):
        renewal.install(layout, answer)


def test_a_key_of_another_curve_makes_no_request(federation: Federation, tmp_path: Path) -> None:
    layout = open_home(make_home(federation, tmp_path)).layout
    layout.tls_key.write_bytes(b"no key")
    with pytest.raises(HomeError, match="cannot be read"):
        certificate_request(layout, "owner")
    key = ec.generate_private_key(ec.SECP384R1()).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    layout.tls_key.write_bytes(key)
    with pytest.raises(HomeError, match="not a P-256"):
        certificate_request(layout, "owner")
