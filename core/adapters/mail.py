"""Operators' notices by mail: one SMTP conversation for each letter, by the standard library.

Sources: RFC 5321 (replies: 4yz may succeed later, 5yz will not), 3207 (STARTTLS), 4954 (AUTH), 5322 (Message-ID), 3834
(Auto-Submitted). A server remembers nothing: the Message-ID is made of the letter's key, so that one that is sent again
because its answer got lost is known for the same.
"""

from __future__ import annotations

import binascii
import logging
import re
import smtplib
import socket
import ssl
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime
from hashlib import sha256
from html import escape

from core.adapters.outside import refuse_inside
from core.adapters.watch import Watch
from core.errors import Permanent, Retryable
from core.letters import Answer, Letter, MailAddress, PartlyTaken, fingerprint, shown
from core.logs import mask

log = logging.getLogger(__name__)

CONVERSATION_SECONDS = 20.0
"""The whole of one letter, however slowly a server answers."""
_CONNECT_SECONDS = 5.0
# Servers that do not take 8 bits are still about.
_POLICY = SMTP.clone(cte_type="7bit")
_SUBJECT_MAX = 200
_REPLY_MAX = 200


class MailUnreachable(Retryable):
    """No conversation, or one that broke off: the letter may have been taken only if it broke off at the very end."""

    def __init__(self, server: str, why: str) -> None:
        super().__init__(f"mail server {server}: {why}")


class MailPutOff(Retryable):
    """The server does not take it now (4yz)."""


class MailRefused(Permanent):
    """The server will not take it (5yz), or cannot do what is asked of it."""


class SmtpMessenger:
    """Writes to the recipients of one address. `context`: whom to believe; by default as this machine does."""

    def __init__(
        self,
        address: MailAddress,
        context: ssl.SSLContext | None = None,
        seconds: float = CONVERSATION_SECONDS,
        *,
        may_be_inside: bool = False,
    ) -> None:
        self._may_be_inside = may_be_inside
        self._address = address
        self._context = context or ssl.create_default_context()
        self._seconds = seconds

    def send(self, letter: Letter) -> Answer:
        """Say it to those who have not taken it yet.

        Raises PartlyTaken where some may take it later, MailPutOff and MailUnreachable where all may, MailRefused.
        """
        left = [one for one in self._address.recipients if fingerprint(one) not in letter.taken]
        if not left:
            return Answer("taken before")
        message = compose(letter, self._address)
        with self._translated(), self._conversation() as smtp:
            return self._deliver(smtp, message, left, letter.taken)

    @property
    def _server(self) -> str:
        return f"{self._address.host}:{self._address.port}"

    def _deliver(
        self, smtp: smtplib.SMTP, message: EmailMessage, recipients: Sequence[str], before: frozenset[str]
    ) -> Answer:
        smtp.ehlo_or_helo_if_needed()
        code, reply = smtp.mail(self._address.sender)
        if code != 250:
            raise _judged(code, f"the sender: {_said(code, reply)}")
        taken, refused = [], []
        for recipient in recipients:
            code, reply = smtp.rcpt(recipient)
            if code in (250, 251):
                taken.append(recipient)
            else:
                refused.append((recipient, code, reply))
        problem = "; ".join(f"{shown(one)} is refused: {_said(code, reply)}" for one, code, reply in refused)
        if not taken:
            may_come = any(400 <= code < 500 for _, code, _ in refused)
            raise MailPutOff(problem) if may_come else MailRefused(problem)
        code, reply = smtp.data(message.as_bytes(policy=_POLICY))
        if code != 250:
            raise _judged(code, f"the letter: {_said(code, reply)}")
        answer = _said(code, reply)
        later = [one for one, code, _ in refused if 400 <= code < 500]
        if later:
            raise PartlyTaken(problem, before | {fingerprint(one) for one in taken})
        _bid_farewell(smtp)
        return Answer(answer, problem or None)

    @contextmanager
    def _conversation(self) -> Iterator[smtplib.SMTP]:
        """Connected, secured and signed in; broken off when its time is up, however the other side drags it out."""
        watch = Watch(self._seconds)
        smtp: smtplib.SMTP | None = None
        try:
            smtp = _Session(self._address, self._context, watch, self._may_be_inside)
            if self._address.security == "starttls":
                smtp.starttls(context=self._context)
            if self._address.user is not None:
                smtp.login(self._address.user, self._address.password or "")
            yield smtp
        except UnicodeEncodeError:
            # Not as the cause: it holds the password that could not be written.
            raise MailRefused(f"mail server {self._server}: user and password have to be ASCII") from None
        except binascii.Error:
            raise MailUnreachable(self._server, "what it answers to signing in is no base64") from None
        except OSError as error:
            # Every SMTPException is an OSError; what the server replied is judged by its code.
            if isinstance(error, smtplib.SMTPException) and not isinstance(error, smtplib.SMTPServerDisconnected):
                raise
            why = f"it took longer than {watch.seconds:g} s" if watch.is_over else _why(error)
            raise MailUnreachable(self._server, why) from None
        finally:
            watch.end()
            if smtp is not None:
                smtp.close()

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except smtplib.SMTPNotSupportedError as error:
            raise MailRefused(f"mail server {self._server}: {mask(str(error))}") from None
        except smtplib.SMTPResponseException as error:
            raise _judged(
                error.smtp_code, f"mail server {self._server}: {_said(error.smtp_code, error.smtp_error)}"
            ) from None
        except smtplib.SMTPException as error:
            raise MailRefused(f"mail server {self._server}: {type(error).__name__}") from None


class _Session(smtplib.SMTP):
    """A conversation, from the first byte in TLS where the address says so."""

    def __init__(self, address: MailAddress, context: ssl.SSLContext, watch: Watch, may_be_inside: bool) -> None:
        self._address, self._context, self._watch = address, context, watch
        self._may_be_inside = may_be_inside
        # Named here: looking up what this machine is called may take longer than the letter.
        name = re.sub(r"[^A-Za-z0-9.-]", "-", socket.gethostname()) or "localhost"
        super().__init__(address.host, address.port, local_hostname=name, timeout=_CONNECT_SECONDS)
        if self.sock is not None:
            self.sock.settimeout(watch.seconds)

    def _get_socket(self, host: str, port: int, timeout: float) -> socket.socket:
        raw = socket.create_connection((host, port), timeout)
        self._watch.over(raw)
        if not self._may_be_inside:
            refuse_inside(host, raw.getpeername()[0])
        if self._address.security == "tls":
            return self._context.wrap_socket(raw, server_hostname=host)
        return raw


def compose(letter: Letter, address: MailAddress) -> EmailMessage:
    """The letter as a message: text beside HTML, files with it. No value of it can begin another header."""
    message = EmailMessage(policy=_POLICY)
    message["Subject"] = one_line(f"[{letter.shop}] {letter.subject}", _SUBJECT_MAX)
    message["From"] = Address("Switchyard", addr_spec=address.sender)
    message["To"] = [Address(addr_spec=recipient) for recipient in address.recipients]
    message["Date"] = format_datetime(letter.at)
    message["Message-ID"] = message_id(letter, address)
    message["Auto-Submitted"] = "auto-generated"
    message.set_content(f"{letter.text}\n\n{letter.link}\n")
    message.add_alternative(letter.html or as_html(letter), subtype="html")
    for file in letter.attachments:
        kind, _, subtype = file.media_type.partition("/")
        name = one_line(file.name, 100).replace("/", "-").replace('"', "'")
        message.add_attachment(file.content, maintype=kind, subtype=subtype or "octet-stream", filename=name)
    return message


def message_id(letter: Letter, address: MailAddress) -> str:
    """The same for each attempt at a letter, and another for each letter and address."""
    made_of = "\n".join((letter.key, letter.shop, *sorted(address.recipients)))
    return f"<{sha256(made_of.encode()).hexdigest()[:40]}@{address.sender.rpartition('@')[2]}>"


def one_line(text: str, longest: int) -> str:
    """Foreign words for a header: one line, nothing that cannot be printed."""
    printable = "".join(mark if mark.isprintable() else " " for mark in text)
    cleaned = " ".join(printable.split())
    return cleaned if len(cleaned) <= longest else cleaned[: longest - 1] + "…"


_EDGES = {"danger": "#CF1039", "attention": "#B56A00", "info": "#5B6675"}


def as_html(letter: Letter) -> str:
    """A letter that brought no HTML of its own: what it says, and the way to look."""
    lines = "".join(
        f"<p style='margin:0 0 10px'>{escape(line)}</p>" for line in letter.text.splitlines() if line.strip()
    )
    edge = _EDGES.get(letter.severity, _EDGES["info"])
    return (
        "<div style='font:15px/1.5 sans-serif;color:#17202B;max-width:640px'>"
        f"<div style='border-left:4px solid {edge};padding:2px 0 2px 14px'>"
        f"<div style='color:#55606E;font-size:13px'>{escape(f'{letter.severity.capitalize()} · {letter.shop}')}</div>"
        f"<h1 style='font-size:18px;margin:2px 0 10px'>{escape(letter.subject)}</h1>{lines}</div>"
        f"<p><a href='{escape(letter.link)}' style='color:#1F4FBF'>Open in Switchyard</a></p></div>"
    )


def _judged(code: int, words: str) -> Exception:
    # What is no reply at all (-1: it speaks something else) says nothing of the letter.
    return MailRefused(words) if 500 <= code < 600 else MailPutOff(words)


def _said(code: int, reply: bytes | str) -> str:
    """What a server replied, on one line, without secrets and addresses."""
    text = reply.decode("utf-8", "replace") if isinstance(reply, bytes) else str(reply)
    return one_line(mask(f"{code} {text}"), _REPLY_MAX)


def _why(error: Exception) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not accepted ({error.verify_message})"
    if isinstance(error, TimeoutError):
        return "it does not answer"
    if isinstance(error, socket.gaierror):
        return "its name is not known"
    if isinstance(error, ConnectionRefusedError):
        return "it refuses connections"
    return f"the conversation broke off ({type(error).__name__})"


def _bid_farewell(smtp: smtplib.SMTP) -> None:
    """It was taken: what comes of leaving changes nothing."""
    try:
        smtp.quit()
    except (OSError, smtplib.SMTPException) as error:
        log.info("a mail server left without a word: %s", type(error).__name__)
