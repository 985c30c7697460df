"""A local HTTP server with the virtues and the faults of real ones."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest


@dataclass
class Served:
    """A file of the server.

    `cut`: close the connection after this number of bytes of a body, for so many answers as
    `cuts` says. `length`: whether the answer says it. `more`: bytes behind the promised end.
    `redirect`: answer with this address instead. `status`: answer with this code alone, for the
    first `refusals` requests (every one if None). `bare`: an answer in part names no version,
    and says its length only with `bare_length`.
    """

    body: bytes = b''
    tag: str = '"1"'
    modified: str = ''
    kind: str = 'application/octet-stream'
    cut: int | None = None
    cuts: int = 1
    length: bool = True
    chunked: bool = False
    ranges: bool = True
    ignores_if_range: bool = False
    more: bytes = b''
    redirect: str = ''
    status: int = 0
    refusals: int | None = None
    encoding: str = ''
    bare: bool = False
    bare_length: bool = True


@dataclass
class Host:
    """`address`: of the server. `files`: by raw path. `requests`: method, path, Range."""

    address: str = ''
    files: dict[str, Served] = field(default_factory=dict)
    requests: list[tuple[str, str, str]] = field(default_factory=list)

    def serve(self, path: str, body: bytes = b'', **options: object) -> str:
        """Serve a file and return its address."""
        self.files[path] = Served(body, **options)  # type: ignore[arg-type]
        return f'{self.address}{path}'


def _handler(host: Host) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = 'HTTP/1.1'

        def log_message(self, *_: object) -> None:
            pass

        def do_HEAD(self) -> None:
            self._answer()

        def do_GET(self) -> None:
            self._answer()

        def _answer(self) -> None:
            path = self.path
            if path.startswith('http://'):  # As a proxy is asked.
                path = '/' + path.split('/', 3)[3]
            host.requests.append((self.command, path, self.headers.get('Range', '')))
            self.close_connection = True
            file = host.files.get(path)
            if file is None:
                self._status(404)
            elif file.status and file.refusals != 0:
                file.refusals = None if file.refusals is None else file.refusals - 1
                self._status(file.status)
            elif file.redirect:
                self.send_response(302)
                self.send_header('Location', file.redirect)
                self._status(None)
            else:
                self._send(file)

        def _status(self, code: int | None) -> None:
            if code is not None:
                self.send_response(code)
            self.send_header('Content-Length', '0')
            self.end_headers()

        def _send(self, file: Served) -> None:
            asked = self.headers.get('Range')
            start = int(asked.removeprefix('bytes=').rstrip('-')) if asked else 0
            condition = self.headers.get('If-Range')
            current = condition in (None, file.tag, file.modified) or file.ignores_if_range
            if not file.ranges or not current:
                start = 0
            if start > len(file.body) or (asked and start == len(file.body) and start):
                self.send_response(416)
                self.send_header('Content-Range', f'bytes */{len(file.body)}')
                self._status(None)
                return
            body = file.body[start:]
            self.send_response(206 if start else 200)
            if start:
                last = len(file.body) - 1
                self.send_header('Content-Range', f'bytes {start}-{last}/{len(file.body)}')
            bare = file.bare and start > 0
            length = file.length and (not bare or file.bare_length)
            for name, value in (
                ('Content-Type', file.kind),
                ('ETag', '' if bare else file.tag),
                ('Last-Modified', '' if bare else file.modified),
                ('Content-Encoding', file.encoding),
                ('Content-Length', str(len(body)) if length else ''),
                ('Transfer-Encoding', 'chunked' if file.chunked else ''),
            ):
                if value:
                    self.send_header(name, value)
            self.end_headers()
            if self.command == 'HEAD':
                return
            body += file.more
            ended = True
            if file.cut is not None and file.cuts > 0:
                file.cuts -= 1
                ended, body = False, body[: file.cut]
            if file.chunked and body:
                self.wfile.write(f'{len(body):x}\r\n'.encode() + body + b'\r\n')
            else:
                self.wfile.write(body)
            if file.chunked and ended:
                self.wfile.write(b'0\r\n\r\n')

    return Handler


@contextmanager
def hosting() -> Iterator[Host]:
    """A server of its own on this machine."""
    host = Host()
    server = ThreadingHTTPServer(('127.0.0.1', 0), _handler(host))
    host.address = f'http://127.0.0.1:{server.server_port}'
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield host
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def without_proxy(patch: pytest.MonkeyPatch) -> None:
    """Requests to this machine do not go through the proxy of the environment."""
    for name in ('http_proxy', 'https_proxy', 'all_proxy', 'no_proxy'):
        patch.delenv(name, raising=False)
        patch.delenv(name.upper(), raising=False)


Serve = Callable[..., str]
