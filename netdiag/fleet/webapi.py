"""Ask an HTTP API for JSON, with a token, a deadline and a byte cap. Used for Consul, Nomad and Vault.

A token travels over https, or to a loopback address; redirects are not followed, because a header would go along.
Certificates are verified against the system's authorities (SSL_CERT_FILE names another). Raises ApiRefused.
"""

import http.client
import ipaddress
import json
import os
import ssl
import urllib.error
import urllib.parse
import urllib.request
from typing import Any

LIMIT = 64 << 20
"""Bytes of an answer; 10,000 nodes of Nomad are about 30 MB."""
TIMEOUT = 20.0
"""Seconds without a byte."""
SAID = 200


class ApiRefused(Exception):
    """No answer, or not one that can be used; the text is one line without secrets."""


class _Stay(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: Any, **__: Any) -> None:
        """None: the redirect becomes an HTTPError."""


def token(variable: str) -> str | None:
    """A token of the environment. Raises ApiRefused where it cannot be a header."""
    value = os.environ.get(variable, "").strip()
    if not value.isascii() or not value.isprintable():
        raise ApiRefused(f"{variable} holds characters that no token has")
    return value or None


def loopback(host: str) -> bool:
    """Whether what is sent to the host stays on this machine."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def base(url: str) -> urllib.parse.SplitResult:
    """The parts of an http or https URL. Raises ApiRefused."""
    try:
        parts = urllib.parse.urlsplit(url)
        known = parts.scheme in ("http", "https") and parts.hostname and (parts.port or True)
    except ValueError:
        known = False
    if not known:
        raise ApiRefused(f"{url[:80]}: is no http or https URL")
    if parts.username or parts.password:
        raise ApiRefused(f"{parts.scheme}://{parts.hostname}: a password in a URL ends in logs; use the environment")
    return parts


def address(parts: urllib.parse.SplitResult, path: str, query: dict[str, str] | None = None) -> str:
    """URL of ``path`` below the base; what ``query`` adds yields to what the base already says."""
    asked = (query or {}) | dict(urllib.parse.parse_qsl(parts.query))
    below = parts.path.rstrip("/") + path
    return urllib.parse.urlunsplit((parts.scheme, parts.netloc, below, urllib.parse.urlencode(asked), ""))


def ask(url: str, *, headers: dict[str, str | None], body: Any = None, timeout: float = TIMEOUT) -> Any:
    """The decoded JSON of an answer; headers that are None are left out. Raises ApiRefused."""
    parts = base(url)
    shown = f"{parts.scheme}://{parts.netloc}{parts.path}"
    sent = {key: value for key, value in headers.items() if value is not None}
    if sent and parts.scheme != "https" and not loopback(str(parts.hostname)):
        raise ApiRefused(f"{shown}: a token is sent only over https, or to this machine")
    request = urllib.request.Request(url, headers=sent | {"Accept": "application/json"})
    if body is not None:
        request.data = json.dumps(body).encode()
        request.add_header("Content-Type", "application/json")
    content = _answer(request, shown, timeout, direct=loopback(str(parts.hostname)))
    try:
        return json.loads(content)
    except (ValueError, RecursionError) as error:
        raise ApiRefused(f"{shown}: the answer is not JSON") from error


def _answer(request: urllib.request.Request, shown: str, timeout: float, *, direct: bool) -> bytes:
    handlers: list[urllib.request.BaseHandler] = [_Stay()]
    if direct:
        handlers.append(urllib.request.ProxyHandler({}))
    try:
        with urllib.request.build_opener(*handlers).open(request, timeout=timeout) as answer:
            content: bytes = answer.read(LIMIT + 1)
    except urllib.error.HTTPError as error:
        with error:
            said = " ".join(error.read(SAID).decode("utf-8", "replace").split())
        raise ApiRefused(f"{shown}: {error.code} {error.reason}{f': {said}' if said else ''}") from error
    except urllib.error.URLError as error:
        raise ApiRefused(f"{shown}: {_words(error.reason)}") from error
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise ApiRefused(f"{shown}: {_words(error)}") from error
    if len(content) > LIMIT:
        raise ApiRefused(f"{shown}: the answer is larger than {LIMIT >> 20} MiB")
    return content


def _words(error: Any) -> str:
    if isinstance(error, TimeoutError):
        return "no answer in time"
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate: {error.verify_message}"
    return " ".join(((isinstance(error, OSError) and error.strerror) or str(error)).split()).lower()
