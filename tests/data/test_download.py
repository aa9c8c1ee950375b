"""A download is complete and the right file, or it is not there."""

import hashlib
import threading
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from data import preparation, recipe
from data.download import Download, fetch
from spec import yaml
from spec.errors import InputError

CONTENT = b"To be, or not to be.\n" * 5000


class Site(ThreadingHTTPServer):
    """Serves one file under several fates, and counts what was asked."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.asked: Counter[str] = Counter()

    def url(self, name: str) -> str:
        return f"http://127.0.0.1:{self.server_port}/{name}"


class _Handler(BaseHTTPRequestHandler):
    server: Site

    def do_GET(self):
        fate = self.path[1:]
        self.server.asked[fate] += 1
        first = self.server.asked[fate] == 1
        if fate == "missing" or (fate == "flaky" and first):
            self.send_error(404 if fate == "missing" else 503)
            return
        self.send_response(200)
        self.send_header("Content-Length", str(len(CONTENT)))
        self.end_headers()
        body = {"wrong": CONTENT.lower(), "truncated": CONTENT[:70000]}.get(fate, CONTENT)
        if fate == "once-truncated" and first:
            body = CONTENT[:70000]
        self.wfile.write(body)

    def log_message(self, *args):
        """Says nothing."""


@pytest.fixture
def site(monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with Site() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def _download(url: str) -> Download:
    sha256 = hashlib.sha256(CONTENT).hexdigest()
    return Download(url, sha256, len(CONTENT), attempts=3, timeout_seconds=5, backoff_seconds=0.01)


@pytest.mark.parametrize(("fate", "asked"), [("good", 1), ("flaky", 2), ("once-truncated", 2)])
def test_a_file_arrives_also_after_a_failure_that_passes(site, tmp_path, said, fate, asked):
    file = tmp_path / "cache" / "input.txt"
    fetch(_download(site.url(fate)), file, said.say)
    assert file.read_bytes() == CONTENT
    assert site.asked[fate] == asked
    assert len(said.lines) == asked - 1


def test_a_file_that_is_there_is_not_fetched_again(site, tmp_path):
    for _ in range(2):
        fetch(_download(site.url("good")), tmp_path / "input.txt")
    assert site.asked["good"] == 1


@pytest.mark.parametrize(
    ("fate", "asked", "message"),
    [
        ("missing", 1, r"404.*--source FILE"),
        ("truncated", 3, r"attempt 3 of 3"),
        ("wrong", 1, r"SHA-256 is .* the recipe expects"),
    ],
)
def test_what_is_not_the_whole_right_file_never_appears(site, tmp_path, fate, asked, message):
    file = tmp_path / "input.txt"
    with pytest.raises(InputError, match=message):
        fetch(_download(site.url(fate)), file)
    assert site.asked[fate] == asked
    assert not file.exists()
    assert not list(tmp_path.glob("*.part"))


def test_a_server_that_is_not_there_is_named(tmp_path, monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with pytest.raises(InputError, match=r"^http://127.0.0.1:9/x: cannot be fetched"):
        fetch(_download("http://127.0.0.1:9/x"), tmp_path / "x")


def test_the_rest_of_a_killed_download_is_overwritten(site, tmp_path):
    (tmp_path / "input.txt.part").write_bytes(b"half" * 100000)
    fetch(_download(site.url("good")), tmp_path / "input.txt")
    assert (tmp_path / "input.txt").read_bytes() == CONTENT


@pytest.fixture
def play(site, tmp_path, monkeypatch) -> str:
    """A recipe that downloads from the site."""
    folder = tmp_path / "recipes"
    folder.mkdir()
    download = _download(site.url("good"))
    source = {
        "kind": "download",
        "url": download.url,
        "sha256": download.sha256,
        "bytes": download.size,
    }
    (folder / "play.yaml").write_text(yaml.dump({"about": "A play.", "source": source}))
    monkeypatch.setattr(recipe, "FOLDER", folder)
    return "play"


def test_a_recipe_downloads_once_for_all_tokenizers(play, site, said):
    for tokenizer in ("bytes", "chars", "bytes"):
        preparation.prepare(play, tokenizer, None, said)
    assert site.asked["good"] == 1


def test_a_copy_gives_the_same_data_as_the_download(play, site, said, tmp_path):
    (tmp_path / "copy").write_bytes(CONTENT)
    copied = preparation.prepare(play, None, tmp_path / "copy", said)
    assert copied.new
    assert not preparation.prepare(play, None, None, said).new
    assert not site.asked


def test_a_copy_of_another_file_is_refused(play, tmp_path, said):
    (tmp_path / "copy").write_bytes(CONTENT[1:])
    with pytest.raises(InputError, match="SHA-256"):
        preparation.prepare(play, None, tmp_path / "copy", said)
    with pytest.raises(InputError, match="no such file"):
        preparation.prepare(play, None, tmp_path / "nothing", said)
