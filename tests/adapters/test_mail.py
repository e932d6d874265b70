"""Operators' notices by mail, against a real SMTP server: TLS, sign-in, refusals, slowness, and what is written."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

import pytest
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, Session
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from core.adapters.mail import MailPutOff, MailRefused, MailUnreachable, SmtpMessenger, message_id
from core.adapters.outside import LeadsInside
from core.errors import Permanent, Retryable
from core.letters import Attachment, Letter, MailAddress, PartlyTaken, fingerprint
from tests.mailing import Post, serving

AT = datetime(2026, 11, 2, 10, 20, tzinfo=UTC)
LETTER = Letter(
    "alert:7#3", "Storm & Söhne", "danger", "24 units could be oversold", "MUG <Ø> shows more than there is.",
    "http://127.0.0.1:8500/alerts?alert=7", AT,
)  # fmt: skip
SECRET = "pa55w0rd-of-ours"


def signs_in(server: SMTP, session: Session, envelope: Envelope, mechanism: str, given: Any) -> AuthResult:
    return AuthResult(success=(given.login, given.password) == (b"us", SECRET.encode()), handled=False)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate of 127.0.0.1 that nobody vouches for, with its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
        .serial_number(x509.random_serial_number()).not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(IPv4Address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )  # fmt: skip
    file = tmp_path_factory.mktemp("mail") / "server.pem"
    file.write_bytes(
        made.public_bytes(serialization.Encoding.PEM)
        + key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return file


@pytest.fixture(scope="module")
def plain() -> Iterator[Post]:
    with serving() as post:
        yield post


@pytest.fixture
def post(plain: Post) -> Post:
    plain.mails.clear()
    plain.answers.clear()
    return plain


def address(port: int, **more: Any) -> MailAddress:
    given = {
        "host": "127.0.0.1", "port": port, "security": "none", "sender": "switchyard@shop.test",
        "recipients": ("ops@shop.test", "eve@shop.test"),
    }  # fmt: skip
    return MailAddress(**{**given, **more})


def trusting(certificate: Path) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=str(certificate))


# --- what is written --------------------------------------------------------------------------------------------------


def test_a_letter_is_text_and_html_with_all_that_a_reader_and_a_machine_need(post: Post) -> None:
    answer = SmtpMessenger(address(post.port)).send(LETTER)
    assert (answer.text, answer.problem) == ("250 2.0.0 Ok: queued as 4F2A", None)
    ((recipients, mail),) = post.mails
    assert recipients == ["ops@shop.test", "eve@shop.test"]
    assert mail["Subject"] == "[Storm & Söhne] 24 units could be oversold"
    assert mail["From"] == "Switchyard <switchyard@shop.test>"
    assert mail["To"] == "ops@shop.test, eve@shop.test"
    assert mail["Auto-Submitted"] == "auto-generated"
    assert mail["Date"].datetime == AT
    assert mail["Message-ID"] == message_id(LETTER, address(post.port))
    text, html = mail.get_body(("plain",)), mail.get_body(("html",))
    assert text is not None
    assert html is not None
    assert "MUG <Ø> shows more than there is." in text.get_content()
    assert LETTER.link in text.get_content()
    assert "MUG &lt;Ø&gt; shows more than there is." in html.get_content()


def test_files_and_html_of_its_own_arrive_as_they_were(post: Post) -> None:
    files = (
        Attachment("day 2026-11-01.csv", "text/csv", "größe,3\r\n".encode()),
        Attachment("../x\r\nBcc: eve@evil.test", "application/octet-stream", bytes(range(256)) * 40),
    )
    SmtpMessenger(address(post.port)).send(replaced(html="<h1>The day</h1>", attachments=files))
    ((_, mail),) = post.mails
    html = mail.get_body(("html",))
    assert html is not None
    assert html.get_content().strip() == "<h1>The day</h1>"
    found = list(mail.iter_attachments())
    assert [one.get_filename() for one in found] == ["day 2026-11-01.csv", "..-x Bcc: eve@evil.test"]
    assert [one.get_payload(decode=True) for one in found] == [file.content for file in files]
    assert mail["Bcc"] is None


def replaced(**more: Any) -> Letter:
    return Letter(**{name: getattr(LETTER, name) for name in Letter.__slots__} | more)


@pytest.mark.parametrize("foreign", ["a\r\nBcc: eve@evil.test", "a\nX-Evil: 1", "a\x00b\x0b\x85c\u2028d", "é" * 900])
def test_foreign_words_begin_no_header(post: Post, foreign: str) -> None:
    SmtpMessenger(address(post.port)).send(replaced(subject=foreign, shop=foreign, key=foreign, severity=foreign))
    ((recipients, mail),) = post.mails
    assert recipients == ["ops@shop.test", "eve@shop.test"]
    assert set(mail.keys()) == {
        "Subject", "From", "To", "Date", "Message-ID", "Auto-Submitted", "MIME-Version", "Content-Type",
    }  # fmt: skip
    assert len(mail["Subject"]) <= 200


def test_a_line_with_a_dot_alone_ends_no_letter(post: Post) -> None:
    SmtpMessenger(address(post.port)).send(replaced(text="one\n.\nQUIT\n..two"))
    text = post.mails[0][1].get_body(("plain",))
    assert text is not None
    assert "one\n.\nQUIT\n..two" in text.get_content().replace("\r\n", "\n")


def test_the_same_letter_has_the_same_id_and_another_has_another(post: Post) -> None:
    to = address(post.port)
    again = replaced(subject="It got worse", at=AT + timedelta(days=1))
    assert message_id(LETTER, to) == message_id(again, to)
    assert message_id(LETTER, to).endswith("@shop.test>")
    assert len({message_id(LETTER, to), message_id(replaced(key="alert:8#3"), to),
                message_id(LETTER, address(1, recipients=("ops@shop.test",)))}) == 3  # fmt: skip


# --- how it gets there ------------------------------------------------------------------------------------------------


def test_starttls_and_signing_in(certificate: Path) -> None:
    server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    server.load_cert_chain(certificate)
    with serving(tls_context=server, require_starttls=True, auth_required=True, authenticator=signs_in) as post:
        to = address(post.port, security="starttls", user="us", password=SECRET)
        SmtpMessenger(to, trusting(certificate)).send(LETTER)
        assert len(post.mails) == 1
        wrong = address(post.port, security="starttls", user="us", password="wr0ng-one")
        with pytest.raises(MailRefused, match="535") as refused:
            SmtpMessenger(wrong, trusting(certificate)).send(LETTER)
        assert "wr0ng" not in str(refused.value)
        # This machine does not know who vouches for it.
        with pytest.raises(MailUnreachable, match="certificate is not accepted"):
            SmtpMessenger(to).send(LETTER)
        with pytest.raises(MailUnreachable, match="certificate is not accepted"):
            SmtpMessenger(address(post.port, security="starttls", host="localhost"), trusting(certificate)).send(LETTER)
        unsigned = address(post.port, security="starttls")
        with pytest.raises(MailRefused, match="530"):
            SmtpMessenger(unsigned, trusting(certificate)).send(LETTER)
        assert len(post.mails) == 1


def test_tls_from_the_first_byte(certificate: Path) -> None:
    server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    server.load_cert_chain(certificate)
    with serving(ssl_context=server) as post:
        SmtpMessenger(address(post.port, security="tls"), trusting(certificate)).send(LETTER)
        assert len(post.mails) == 1
        with pytest.raises(MailUnreachable):
            SmtpMessenger(address(post.port), seconds=1).send(LETTER)


def test_a_server_without_what_is_asked_of_it_is_told_nothing(post: Post) -> None:
    with pytest.raises(MailRefused, match="STARTTLS"):
        SmtpMessenger(address(post.port, security="starttls", user="us", password=SECRET)).send(LETTER)
    with pytest.raises(MailRefused, match="AUTH"):
        SmtpMessenger(address(post.port, user="us", password=SECRET)).send(LETTER)
    assert post.mails == []


# --- what comes back --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("place", ["from", "data"])
@pytest.mark.parametrize(
    ("answer", "error"),
    [
        ("421 4.3.2 shutting down", MailPutOff),
        ("452 4.3.1 no room", MailPutOff),
        ("550 5.7.1 no: ops@shop.test", MailRefused),
        ("554 5.6.0 we take no such thing", MailRefused),
    ],
)
def test_the_first_digit_decides_whether_to_try_again(
    post: Post, place: str, answer: str, error: type[Exception]
) -> None:
    post.answers[place] = answer
    with pytest.raises(error) as caught:
        SmtpMessenger(address(post.port)).send(LETTER)
    assert issubclass(error, Retryable if answer[0] == "4" else Permanent)
    assert answer[:3] in str(caught.value)
    assert "ops@shop" not in str(caught.value)


def test_one_recipient_who_is_refused_is_named_masked_and_the_others_have_it(post: Post) -> None:
    post.answers["eve@shop.test"] = "550 5.1.1 <eve@shop.test>: no such user"
    answer = SmtpMessenger(address(post.port)).send(LETTER)
    assert answer.problem == "e… at shop.test is refused: 550 5.1.1 <***@***>: no such user"
    assert [recipients for recipients, _ in post.mails] == [["ops@shop.test"]]


def test_one_recipient_who_is_put_off_gets_it_later_and_nobody_twice(post: Post) -> None:
    post.answers["eve@shop.test"] = "451 4.7.1 greylisted"
    with pytest.raises(PartlyTaken, match=r"e… at shop\.test is refused: 451") as partly:
        SmtpMessenger(address(post.port)).send(LETTER)
    assert partly.value.taken == {fingerprint("ops@shop.test")}
    post.answers.clear()
    SmtpMessenger(address(post.port)).send(replaced(taken=partly.value.taken))
    assert [recipients for recipients, _ in post.mails] == [["ops@shop.test"], ["eve@shop.test"]]
    assert len({mail["Message-ID"] for _, mail in post.mails}) == 1
    everybody = frozenset({fingerprint("ops@shop.test"), fingerprint("eve@shop.test")})
    assert SmtpMessenger(address(post.port)).send(replaced(taken=everybody)).text == "taken before"
    assert len(post.mails) == 2


@pytest.mark.parametrize(("answer", "error"), [("550 no", MailRefused), ("451 later", MailPutOff)])
def test_where_nobody_may_have_it_nothing_is_written(post: Post, answer: str, error: type[Exception]) -> None:
    post.answers |= {"ops@shop.test": "550 no", "eve@shop.test": answer}
    with pytest.raises(error):
        SmtpMessenger(address(post.port)).send(LETTER)
    assert post.mails == []


@contextmanager
def speaking(behave: Callable[[socket.socket], None]) -> Iterator[int]:
    """A server that does what `behave` does with whoever calls; returns its port."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            caller, _ = listener.accept()
            with caller:
                behave(caller)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield listener.getsockname()[1]
        thread.join(10)


def test_a_server_that_drags_it_out_is_left_when_its_time_is_up() -> None:
    """A byte now and then keeps any timeout of a socket from striking; the letter's own time strikes all the same."""
    gone = threading.Event()

    def dribble(caller: socket.socket) -> None:
        caller.sendall(b"220 ")
        while not gone.wait(0.05):
            try:
                caller.sendall(b"x")
            except OSError:
                return

    with speaking(dribble) as port:
        with pytest.raises(MailUnreachable, match=r"longer than 0\.4 s"):
            SmtpMessenger(address(port), seconds=0.4).send(LETTER)
        gone.set()


def test_a_server_that_says_nothing_or_breaks_off_may_be_tried_again() -> None:
    gone = threading.Event()
    with speaking(lambda caller: gone.wait(10) and None) as port:
        with pytest.raises(MailUnreachable, match=r"longer than 0\.3 s"):
            SmtpMessenger(address(port), seconds=0.3).send(LETTER)
        gone.set()
    with speaking(lambda caller: caller.sendall(b"220 hello\r\n")) as port, pytest.raises(MailUnreachable):
        SmtpMessenger(address(port)).send(LETTER)
    with speaking(lambda caller: caller.sendall(b"554 go away\r\n")) as port, pytest.raises(MailRefused, match="554"):
        SmtpMessenger(address(port)).send(LETTER)
    with speaking(lambda caller: caller.sendall(b"HTTP/1.1 400 Bad\r\n\r\n")) as port, pytest.raises(Retryable):
        SmtpMessenger(address(port)).send(LETTER)
    with pytest.raises(MailUnreachable, match="refuses connections"):
        SmtpMessenger(address(port)).send(LETTER)
    with pytest.raises(MailUnreachable, match="name is not known"):
        SmtpMessenger(address(25, host="nowhere.invalid")).send(LETTER)


def test_a_password_that_cannot_be_written_is_refused_and_not_repeated(certificate: Path) -> None:
    with (
        serving(auth_require_tls=False, authenticator=signs_in) as kept,
        pytest.raises(MailRefused, match="ASCII") as caught,
    ):
        SmtpMessenger(address(kept.port, user="ops", password="pässw0rd")).send(LETTER)
    assert "ssw0rd" not in str(caught.value)
    assert caught.value.__cause__ is None


def test_a_mail_server_inside_is_told_nothing(post: Post) -> None:
    with pytest.raises(LeadsInside):
        SmtpMessenger(address(post.port, host="127.1")).send(LETTER)
    assert post.mails == []
