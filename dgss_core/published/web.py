"""One HTTP request without trust: redirects, pages and refusals, each with one sentence.

urllib of the standard library is enough: one GET of one address, with ranges, redirects and the
proxy of the environment. A library for it would be one more thing to keep up to date.
"""

from __future__ import annotations

from typing import IO, Any
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import (
    HTTPDefaultErrorHandler,
    HTTPErrorProcessor,
    HTTPHandler,
    HTTPRedirectHandler,
    HTTPSHandler,
    OpenerDirector,
    ProxyHandler,
    Request,
    UnknownHandler,
)

from dgss_core import __version__
from dgss_core.errors import HEAD, DgssError, one_line, what_it_is

LARGEST = 1 << 35
"""Bytes of a file of unknown size."""
TIMEOUT_S = 60.0
PASSING = (408, 425, 429, 500, 502, 503, 504)
"""Answers after which another attempt may succeed."""


class _Redirects(HTTPRedirectHandler):
    """Follows a redirect to http or https, never from https to http; keeps method and range."""

    def http_error_302(
        self, req: Request, fp: IO[bytes], code: int, msg: str, headers: Any
    ) -> Any:
        # The standard library follows a URI header too, where there is no Location.
        self._refuse_unsafe(req, headers.get('Location') or headers.get('URI') or '')
        return super().http_error_302(req, fp, code, msg, headers)

    http_error_301 = http_error_303 = http_error_307 = http_error_308 = http_error_302

    def redirect_request(
        self, req: Request, fp: IO[bytes], code: int, msg: str, headers: Any, newurl: str
    ) -> Request:
        self._refuse_unsafe(req, newurl)
        return Request(
            newurl,
            headers=dict(req.headers),
            origin_req_host=req.origin_req_host,
            unverifiable=True,
            method=req.get_method(),
        )

    def _refuse_unsafe(self, req: Request, target: str) -> None:
        own, scheme = urlsplit(req.full_url).scheme, urlsplit(target).scheme.lower()
        if scheme not in ('', 'https', 'http') or (own, scheme) == ('https', 'http'):
            raise DgssError(
                f'{req.full_url} leads to {one_line(target, 80)}, and only a redirect to https is '
                'followed; download it by hand and give it with --from.'
            )


def opened(request: Request) -> Any:
    """The answer to a request, through the proxy of the environment (https_proxy, no_proxy).

    Raises DgssError for a redirect that is not followed or cannot be read, and OSError or
    HTTPException otherwise.
    """
    director = OpenerDirector()
    for handler in (
        *(ProxyHandler(), HTTPHandler(), HTTPSHandler(), UnknownHandler(), _Redirects()),
        *(HTTPDefaultErrorHandler(), HTTPErrorProcessor()),
    ):
        director.add_handler(handler)
    request.add_header('User-Agent', f'dgss/{__version__}')
    try:
        return director.open(request, timeout=TIMEOUT_S)
    except ValueError as error:  # http://[ in a redirect
        raise DgssError(
            f'{request.full_url} leads to an address that cannot be read ({error}); download it '
            'by hand and give it with --from.'
        ) from error


def validator(answer: Any) -> str:
    """The server's name of this version of a file, '' without one.

    A weak tag does not count, because it allows other bytes (RFC 9110, 13.1.5).
    """
    tag = answer.headers.get('ETag', '')
    if tag and not tag.startswith('W/'):
        return str(tag)
    return str(answer.headers.get('Last-Modified', '')) if not tag else ''


def total_bytes(answer: Any, address: str, have: int, size: int | None) -> int | None:
    """The bytes of the whole file, of which `have` are there; None if the answer does not say.

    Raises DgssError if they are others than `size`, or too many.
    """
    if answer.headers.get('Content-Encoding', 'identity') != 'identity':
        raise DgssError(f'{address} answers with compressed bytes; download it by hand.')
    length = answer.headers.get('Content-Length', '')
    total = have + int(length) if length.isdecimal() and len(length) < 16 else None
    if total is not None and size is not None and total != size:
        if what := what_it_is(answer.read(HEAD), 'zip'):
            raise DgssError(f'{address} is {what}.')
        raise DgssError(
            f'{address} has {total} bytes and {size} were published; it is another file, ask its '
            'publisher.'
        )
    if total is not None and total > LARGEST:
        raise DgssError(
            f'{address} has {total} bytes, more than any checkpoint; ask its publisher.'
        )
    return total


def refuse_page(address: str, answer: Any) -> None:
    """Raise DgssError for an answer that says it is a page."""
    kind = answer.headers.get_content_type()
    if kind in ('text/html', 'application/xhtml+xml'):
        raise DgssError(
            f'{address} answers with an HTML page, not the file; open it in a browser, past the '
            'login or the consent, and give the file with --from.'
        )


def reason_of(address: str, error: Exception) -> str:
    """The reason of a failure; DgssError for one that another attempt does not mend."""
    if isinstance(error, HTTPError):
        with error:
            if error.code in PASSING:
                return f'it answers {error.code}'
        if error.code in (401, 403):
            raise DgssError(
                f'{address} answers {error.code}: it wants a login or the consent to its terms; '
                'download it in a browser and give the file with --from.'
            ) from error
        raise DgssError(
            f'{address} answers {error.code} {one_line(error.reason, 60)}; see whether its '
            'publisher has moved it, and give a copy with --from.'
        ) from error
    reason = error.reason if isinstance(error, URLError) else error
    return one_line(reason, 200) or type(error).__name__
