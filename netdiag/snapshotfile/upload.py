"""Send a snapshot: HTTP PUT to a URL, or through fsspec for any other scheme.

A URL that ends in ``/`` is a folder: the snapshot becomes ``HOST_TIME.netdiag`` in it. What is sent goes over https, or
to a loopback address; redirects are not followed. NETDIAG_UPLOAD_AUTHORIZATION is the Authorization header. A URL may
carry a signature, so complaints name it without its query. Raises UploadRefused.
"""

import http.client
import ipaddress
import os
import ssl
import urllib.error
import urllib.parse
import urllib.request
from typing import Any

from netdiag.model.snapshot import Meta

TIMEOUT = 60.0
"""Seconds without a byte."""
AUTHORIZATION = "NETDIAG_UPLOAD_AUTHORIZATION"


class UploadRefused(Exception):
    """A snapshot could not be sent; the text is one line without secrets."""


class _Stay(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: Any, **__: Any) -> None:
        """None: the redirect becomes an HTTPError."""


def is_url(output: str) -> bool:
    """Whether it is a URL and no path."""
    return "://" in output


def name_of(meta: Meta) -> str:
    """``HOST_TIME.netdiag``."""
    time = meta.taken_at.replace("-", "").replace(":", "")
    return f"{urllib.parse.quote(meta.name, safe='')}_{urllib.parse.quote(time, safe='')}.netdiag"


def placed(output: str, meta: Meta) -> str:
    """The path or URL itself, or the file's in a folder that ends with ``/``."""
    return output + name_of(meta) if output.endswith("/") else output


def _shown(url: str) -> str:
    scheme, _, rest = url.partition("://")
    return f"{scheme}://{rest.partition('?')[0].rpartition('@')[2]}"


def check_upload(url: str) -> None:
    """Refuse, before the work is done, a URL to which nothing will be sent. Raises UploadRefused."""
    scheme = url.partition("://")[0]
    if scheme not in ("http", "https"):
        return
    try:
        host = urllib.parse.urlsplit(url).hostname or ""
    except ValueError as error:
        raise UploadRefused(f"{_shown(url)}: {error}") from error
    if not host:
        raise UploadRefused(f"{_shown(url)}: names no host")
    if scheme == "http" and not _loopback(host):
        raise UploadRefused(f"{_shown(url)}: a snapshot is sent only over https, or to this machine")


def _loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def upload(url: str, octets: bytes) -> None:
    """Send the snapshot. Raises UploadRefused."""
    check_upload(url)
    if url.partition("://")[0] in ("http", "https"):
        _put(url, octets)
    else:
        _write(url, octets)


def _put(url: str, octets: bytes) -> None:
    headers = {"Content-Type": "application/zip"}
    if authorization := os.environ.get(AUTHORIZATION, "").strip():
        headers["Authorization"] = authorization
    handlers: list[urllib.request.BaseHandler] = [_Stay()]
    if _loopback(urllib.parse.urlsplit(url).hostname or ""):
        handlers.append(urllib.request.ProxyHandler({}))
    try:
        request = urllib.request.Request(url, octets, headers, method="PUT")
        with urllib.request.build_opener(*handlers).open(request, timeout=TIMEOUT):
            return
    except urllib.error.HTTPError as error:
        with error:
            raise UploadRefused(f"{_shown(url)}: {error.code} {error.reason}") from error
    except urllib.error.URLError as error:
        raise UploadRefused(f"{_shown(url)}: {_words(error.reason)}") from error
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise UploadRefused(f"{_shown(url)}: {_words(error)}") from error


def _words(error: Any) -> str:
    if isinstance(error, TimeoutError):
        return "no answer in time"
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate: {error.verify_message}"
    return " ".join(((isinstance(error, OSError) and error.strerror) or str(error)).split()).lower()


def _write(url: str, octets: bytes) -> None:
    try:
        from fsspec.core import url_to_fs

        fs, path = url_to_fs(url)
        fs.pipe_file(path, octets)
    except (ImportError, OSError, ValueError, RuntimeError) as error:
        raise UploadRefused(f"{_shown(url)}: {' '.join(str(error).split())[:200]}") from error
