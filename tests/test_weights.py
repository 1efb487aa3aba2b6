"""``eozoo weights``: fetched once, with a receipt; another file is refused. A local server stands for the world."""

import hashlib
import json
import threading
from functools import partial
from http.server import HTTPServer, SimpleHTTPRequestHandler

import pytest
from click.testing import CliRunner
from eozoo import Registry, weights
from eozoo.cli import main
from eozoo_core import Source, Spec, ZooError, hookimpl

CONTENT = b"weights" * 1000
SHA = hashlib.sha256(CONTENT).hexdigest()


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *arguments):
        pass


@pytest.fixture
def server(tmp_path):
    """A folder that is served; yields (folder, address)."""
    folder = tmp_path / "www"
    folder.mkdir()
    (folder / "net.bin").write_bytes(CONTENT)
    with HTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder))) as http:
        threading.Thread(target=http.serve_forever, daemon=True).start()
        yield folder, f"http://127.0.0.1:{http.server_port}"
        http.shutdown()


@pytest.fixture
def zoo(server, tmp_path, monkeypatch):
    monkeypatch.setenv("EOZOO_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("EOZOO_OFFLINE", raising=False)

    class Plugin:
        @hookimpl
        def eozoo_models(self):
            address = server[1]
            known = Source(f"{address}/net.bin", "net.bin", "v1", len(CONTENT), SHA, "Apache-2.0")
            return [
                Spec("known", "no_such_module:net", "Everything cited.", sources=(known,)),
                Spec("vague", "no_such_module:net", "No hash.", sources=(Source(f"{address}/net.bin", "vague.bin"),)),
                Spec("wrong", "a:b", "Wrong hash.", sources=(Source(f"{address}/net.bin", "w", sha256="0" * 64),)),
                Spec("large", "a:b", "Wrong size.", sources=(Source(f"{address}/net.bin", "l", bytes=3),)),
                Spec("gone", "a:b", "Not there.", sources=(Source(f"{address}/gone.bin", "g"),)),
                Spec("plain", "a:b", "No weights."),
            ]

    registry = Registry()
    registry.add(Plugin, "plugin 1.0")
    assert registry.problems == []

    def call(*arguments, code=0):
        result = CliRunner().invoke(main, ["weights", *arguments], obj=registry, catch_exceptions=False)
        assert result.exit_code == code, result.output
        return result.output

    return call


def files(folder):
    return sorted(p.name for p in folder.rglob("*") if p.is_file()) if folder.exists() else []


def test_fetched_once_with_a_receipt(zoo, server, tmp_path):
    output = zoo("fetch", "known")
    path = tmp_path / "cache" / "weights" / "known" / "net.bin"
    assert output.strip() == f"{path}  sha256 {SHA}"
    assert path.read_bytes() == CONTENT
    receipt = json.loads(path.with_name("net.bin.receipt.json").read_text())
    assert {key: receipt[key] for key in ("sha256", "bytes", "revision", "licence")} == {
        "sha256": SHA, "bytes": 7000, "revision": "v1", "licence": "Apache-2.0",
    }  # fmt: skip
    (server[0] / "net.bin").unlink()  # now nobody can fetch
    assert zoo("fetch", "known") == output
    assert f"ok    known/net.bin: sha256 {SHA}" in zoo("verify")


def test_an_unknown_hash_is_pinned_at_the_first_time(zoo, server, tmp_path):
    zoo("fetch", "vague", "--quiet")
    path = tmp_path / "cache" / "weights" / "vague" / "vague.bin"
    path.unlink()
    (server[0] / "net.bin").write_bytes(CONTENT.upper())  # the publisher changes the file
    assert "it is another file or damaged, and is not used" in zoo("fetch", "vague", code=1)
    assert files(tmp_path / "cache") == ["vague.bin.receipt.json"]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("wrong", f"has sha256 {SHA[:16]}..., expected 0000000000000000..."),
        ("large", "has 7,000 bytes, expected 3"),
        ("gone", "cannot be fetched (File not found)"),
        ("plain", "model 'plain' names no published weights."),
        ("knwon", "no model 'knwon'. Did you mean 'known'?"),
    ],
)
def test_what_is_refused_leaves_nothing(zoo, tmp_path, name, message):
    output = zoo("fetch", name, code=1)
    assert message in output
    assert output.count("Error: ") == 1
    assert files(tmp_path / "cache") == []


def test_offline(zoo, tmp_path, monkeypatch):
    monkeypatch.setenv("EOZOO_OFFLINE", "1")
    assert "EOZOO_OFFLINE is set; copy net.bin there" in zoo("fetch", "known", code=1)
    path = tmp_path / "cache" / "weights" / "known" / "net.bin"
    path.parent.mkdir(parents=True)
    path.write_bytes(CONTENT)  # by hand
    assert str(path) in zoo("fetch", "known")


def test_verify_finds_a_damaged_file(zoo, tmp_path):
    zoo("fetch", "known")
    zoo("fetch", "vague")
    for name, file in (("known", "net.bin"), ("vague", "vague.bin")):
        path = tmp_path / "cache" / "weights" / name / file
        path.write_bytes(CONTENT[:-1] + b"!")
    found = json.loads(zoo("verify", "--json", code=1))
    assert [(record["model"], record["ok"]) for record in found] == [("known", False), ("vague", False)]
    assert "wrong known/net.bin" in zoo("verify", "known", code=1)
    assert "is not there" in zoo("verify", "gone", code=1)
    (tmp_path / "cache" / "weights" / "vague" / "vague.bin.receipt.json").write_text("{}")
    assert "delete it and fetch again" in zoo("verify", "vague", code=1)


def test_a_local_file_is_verified_too(zoo, tmp_path):
    good, bad = tmp_path / "good.bin", tmp_path / "bad.bin"
    good.write_bytes(CONTENT)
    bad.write_bytes(CONTENT[:-1] + b"!")
    assert zoo("verify", "known", "--file", str(good)) == f"ok    known/net.bin: sha256 {SHA}\n"
    assert "it is another file or damaged" in zoo("verify", "known", "--file", str(bad), code=1)
    assert "cannot be verified" in zoo("verify", "vague", "--file", str(good), code=1)
    zoo("fetch", "vague")  # now a hash was seen
    assert "ok    vague/vague.bin" in zoo("verify", "vague", "--file", str(good))
    assert "another file" in zoo("verify", "vague", "--file", str(bad), code=1)
    assert "no such" in zoo("verify", "known", "--file", str(tmp_path / "none"), code=1).lower()
    assert "name the model" in zoo("verify", "--file", str(good), code=1)


def test_list_imports_and_fetches_nothing(zoo, tmp_path):
    records = {record["model"]: record for record in json.loads(zoo("list", "--json"))}
    assert set(records) == {"known", "vague", "wrong", "large", "gone"}
    assert records["known"]["sha256"] == SHA
    assert not records["known"]["cached"]
    assert records["vague"]["licence"] is None
    text = zoo("list")
    assert "unknown" in text
    assert files(tmp_path / "cache") == []
    zoo("fetch", "vague")
    assert json.loads(zoo("list", "--json"))[-2]["model"] == "vague"
    assert {r["model"]: r for r in json.loads(zoo("list", "--json"))}["vague"]["sha256"] == SHA


def test_the_cache_follows_the_user(monkeypatch, tmp_path):
    monkeypatch.delenv("EOZOO_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert weights.cache() == tmp_path / "eozoo"
    with pytest.raises(ZooError, match="no model 'x'"):
        weights.sources(Registry(), "x")
