"""Downloads that end in the right bytes or in one sentence, whatever the server does."""

from __future__ import annotations

import tempfile
from contextlib import suppress
from pathlib import Path

import pytest
from hosting import Host, hosting, without_proxy
from hypothesis import given, settings
from hypothesis import strategies as st

from dgss_core.errors import DgssError
from dgss_core.published import download as module

BODY = bytes(range(256)) * 40
OTHER = bytes(reversed(BODY))


@pytest.fixture
def part(tmp_path: Path) -> Path:
    return tmp_path / 'file.pth.part'


@pytest.fixture(scope='module')
def quick_host() -> Host:
    with pytest.MonkeyPatch.context() as patch, hosting() as running:
        without_proxy(patch)
        patch.setattr(module, 'PAUSE_S', 0.0)
        yield running


def download(address: str, part: Path, **options: object) -> None:
    with module.held(part) as file:
        module.download(address, file, **options)


def killed(done: int, total: int | None) -> None:
    raise KeyboardInterrupt


@settings(max_examples=120, deadline=None)
@given(
    cuts=st.lists(st.integers(0, len(BODY)), min_size=1, max_size=3),
    options=st.fixed_dictionaries(
        {
            'tag': st.sampled_from(['"1"', 'W/"1"', '']),
            'modified': st.sampled_from(['', 'Fri, 27 Nov 2026 08:00:00 GMT']),
            'ranges': st.booleans(),
            'chunked': st.booleans(),
        }
    ),
)
def test_a_cut_at_any_byte_is_resumed(quick_host: Host, cuts: list[int], options: dict) -> None:
    """Each run ends where the server cuts it off; the last one is left alone."""
    with tempfile.TemporaryDirectory() as folder:
        part = Path(folder) / 'file.part'
        length = not options['chunked']
        for cut in cuts:
            address = quick_host.serve('/f', BODY, cut=cut, cuts=1, length=length, **options)
            with suppress(KeyboardInterrupt):
                download(address, part, progress=killed)
        download(quick_host.serve('/f', BODY, length=length, **options), part)
        assert part.read_bytes() == BODY


def test_only_the_missing_bytes_are_sent(host: Host, part: Path) -> None:
    address = host.serve('/f', BODY, cut=4000)
    seen: list[tuple[int, int | None]] = []
    download(address, part, progress=lambda done, total: seen.append((done, total)))
    assert part.read_bytes() == BODY
    assert [asked for _, _, asked in host.requests] == ['', 'bytes=4000-']
    assert seen[-1] == (len(BODY), len(BODY))
    download(address, part)
    assert len(host.requests) == 2


@settings(max_examples=40, deadline=None)
@given(cut=st.integers(1, len(BODY) - 1), lies=st.booleans(), shorter=st.integers(0, 5000))
def test_two_versions_of_a_file_are_never_spliced(
    quick_host: Host, cut: int, lies: bool, shorter: int
) -> None:
    """Neither of a server that obeys If-Range nor of one that ignores it."""
    with tempfile.TemporaryDirectory() as folder:
        part = Path(folder) / 'file.part'
        address = quick_host.serve('/f', BODY, cut=cut)
        with pytest.raises(KeyboardInterrupt):
            download(address, part, progress=killed)
        assert part.read_bytes() == BODY[:cut]
        new = OTHER[: len(OTHER) - shorter]
        download(quick_host.serve('/f', new, tag='"2"', ignores_if_range=lies), part)
        assert part.read_bytes() == new


def test_a_part_of_another_address_or_of_no_known_one_is_begun_anew(
    host: Host, part: Path
) -> None:
    part.write_bytes(b'what somebody left here')
    download(host.serve('/f', BODY), part)
    assert part.read_bytes() == BODY
    download(host.serve('/g', OTHER), part)
    assert part.read_bytes() == OTHER


def test_passing_failures_are_waited_for(host: Host, part: Path) -> None:
    download(host.serve('/f', BODY, status=503, refusals=3), part)
    assert part.read_bytes() == BODY
    with pytest.raises(DgssError, match=r'it answers 429\); run the command again'):
        download(host.serve('/g', BODY, status=429), part)


REFUSED = {
    'nothing': ({'status': 404}, 'answers 404 Not Found; see whether its publisher has moved it'),
    'login': ({'status': 401}, 'answers 401: it wants a login'),
    'page': ({'body': b'<p>', 'kind': 'text/html; charset=utf-8'}, 'answers with an HTML page'),
    'page without a name': ({'body': b'\n<!DOCTYPE html><html>'}, 'is an HTML page'),
    'pointer': ({'body': b'version https://git-lfs.github.com/spec/v1\n'}, 'a Git LFS pointer'),
    'another size': ({'body': BODY[:-1]}, f'has {len(BODY) - 1} bytes and {len(BODY)} were'),
    'too long': ({'body': BODY, 'more': b'x', 'chunked': True, 'length': False}, 'sends more'),
    'compressed': ({'body': BODY, 'encoding': 'gzip'}, 'answers with compressed bytes'),
    'to a file': ({'redirect': 'file:///etc/passwd'}, 'leads to file:///etc/passwd'),
    'nowhere': ({'redirect': 'http://[/f'}, 'an address that cannot be read'),
    'to ftp': ({'redirect': 'ftp://127.0.0.1/f'}, 'leads to ftp'),
}


@pytest.mark.parametrize('kind', REFUSED)
def test_what_is_refused(kind: str, host: Host, part: Path) -> None:
    options, says = REFUSED[kind]
    with pytest.raises(DgssError, match=says) as refused:
        download(host.serve('/f', **options), part, size=len(BODY))
    assert '\n' not in str(refused.value)
    assert not part.exists() or part.read_bytes() == b''
    assert len(host.requests) == 1


def test_a_file_of_unknown_length_is_refused(host: Host, part: Path) -> None:
    with pytest.raises(DgssError, match='does not say how long the file is'):
        download(host.serve('/f', BODY, length=False), part)
    download(host.serve('/f', BODY, length=False), part, size=len(BODY))
    assert part.read_bytes() == BODY


def test_an_endless_answer_ends(host: Host, part: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, 'LARGEST', 5000)
    with pytest.raises(DgssError, match='sends more than the 5000 bytes'):
        download(host.serve('/f', BODY, chunked=True, length=False), part)


def test_redirects_keep_the_range_and_the_percent_signs(host: Host, part: Path) -> None:
    host.serve('/real/GTAV%2BEVA-L/Semi(1%2F16)/a+b.pth?download=1', BODY, cut=100)
    address = host.serve('/r', redirect='/real/GTAV%2BEVA-L/Semi(1%2F16)/a+b.pth?download=1')
    download(address, part)
    assert part.read_bytes() == BODY
    assert host.requests[-1] == (
        'GET', '/real/GTAV%2BEVA-L/Semi(1%2F16)/a+b.pth?download=1', 'bytes=100-',
    )  # fmt: skip


@pytest.mark.parametrize('header', ['Location', 'URI'])
def test_no_redirect_leads_from_https_to_http(header: str) -> None:
    from email.message import Message
    from io import BytesIO
    from urllib.request import Request

    from dgss_core.published.web import _Redirects

    answer = Message()
    answer[header] = 'http://example.org/f'
    with pytest.raises(DgssError, match='only a redirect to https is followed'):
        _Redirects().http_error_302(Request('https://a/f'), BytesIO(), 302, '', answer)
    with pytest.raises(DgssError, match='only a redirect to https is followed'):
        _Redirects().redirect_request(
            Request('https://a/f'), BytesIO(), 302, '', Message(), 'HTTP://example.org/f'
        )


def test_the_proxy_of_the_environment_is_used(
    host: Host, part: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    host.serve('/f.pth', BODY)
    monkeypatch.setenv('http_proxy', host.address)
    download('http://weights.invalid/f.pth', part)
    assert part.read_bytes() == BODY


def test_nobody_answers(part: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    without_proxy(monkeypatch)
    monkeypatch.setattr(module, 'PAUSE_S', 0.0)
    with pytest.raises(DgssError, match=r'could not be fetched \(.*refused.*\); run the command'):
        download('http://127.0.0.1:9/f', part)


def test_two_processes_do_not_fetch_the_same_file(host: Host, part: Path) -> None:
    import fcntl

    with open(part, 'ab') as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        with pytest.raises(DgssError, match='is being fetched by another process'):
            download(host.serve('/f', BODY), part)


def test_a_full_disk_is_named(host: Host, part: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module.shutil, 'disk_usage', lambda _: type('Usage', (), {'free': 10}))
    with pytest.raises(DgssError, match='has room for 0 MB'):
        download(host.serve('/f', BODY), part)


def test_a_part_that_cannot_be_described_is_no_failure_of_the_server(
    host: Host, part: Path
) -> None:
    part.with_name(f'{part.name}.json').mkdir()
    with pytest.raises(DgssError, match=r'cannot be written .*choose another --folder'):
        download(host.serve('/f', BODY), part)
    assert len(host.requests) == 1


@pytest.mark.parametrize('length', [True, False])
def test_answers_in_part_need_not_repeat_the_version(host: Host, part: Path, length: bool) -> None:
    """The second and third answer, with and without their length, are those of the first."""
    address = host.serve('/f', BODY, cut=4000, cuts=2, bare=True, bare_length=length)
    download(address, part)
    assert part.read_bytes() == BODY
    assert [asked for *_, asked in host.requests] == ['', 'bytes=4000-', 'bytes=8000-']
