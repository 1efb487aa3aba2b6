"""``eozoo weights``: fetched once, with a receipt; another file is refused. A local server stands for the world."""

import hashlib
import json
import shutil
import threading
from functools import partial
from http.server import HTTPServer, SimpleHTTPRequestHandler

import pytest
import torch
from click.testing import CliRunner
from eozoo import Registry, weights
from eozoo.cli import main
from eozoo_core import Source, Spec, ZooError, hookimpl
from eozoo_core.run.published import find_weights, load_published
from eozoo_core.run.user_cache import user_cache

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

        @hookimpl
        def eozoo_tasks(self):
            own = Source(f"{server[1]}/net.bin", "task.bin", "v2")
            return [Spec("task", "no_such_module:Task", "A task with weights.", sources=(own,))]

    registry = Registry()
    registry.add(Plugin, "plugin 1.0")
    assert registry.problems == []

    def call(*arguments, code=0):
        result = CliRunner().invoke(main, ["weights", *arguments], obj=registry, catch_exceptions=False)
        assert result.exit_code == code, result.output
        return result.output

    call.registry = registry
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
    assert set(records) == {"known", "vague", "wrong", "large", "gone", "task"}
    assert records["known"]["sha256"] == SHA
    assert not records["known"]["cached"]
    assert records["vague"]["licence"] is None
    text = zoo("list")
    assert "unknown" in text
    assert SHA in text  # whole: a script reads it
    assert files(tmp_path / "cache") == []
    zoo("fetch", "vague")
    assert {r["model"]: r for r in json.loads(zoo("list", "--json"))}["vague"]["sha256"] == SHA


def test_the_cache_follows_the_user(monkeypatch, tmp_path):
    monkeypatch.delenv("EOZOO_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert user_cache() == tmp_path / "eozoo"
    with pytest.raises(ZooError, match="no model 'x'"):
        weights.sources(Registry(), "x")


def test_a_task_s_weights_are_fetched_like_a_model_s(zoo, tmp_path):
    path = tmp_path / "cache" / "weights" / "task" / "task.bin"
    shown = CliRunner().invoke(main, ["show", "task"], obj=zoo.registry).output
    assert "eozoo weights fetch task" in shown
    for name in ("task", "plugin/task"):
        assert zoo("fetch", name) == f"{path}  sha256 {SHA}\n"
        assert "ok    task/task.bin" in zoo("verify", name)


@pytest.fixture
def line(tmp_path, monkeypatch):
    """A network, a file with its weights under a prefix, and where it is published: without a hash, and with one."""
    monkeypatch.setenv("EOZOO_CACHE", str(tmp_path / "cache"))
    network, file = torch.nn.Linear(2, 1), tmp_path / "line.pt"
    torch.save({"state_dict": {f"net.{k}": v for k, v in network.state_dict().items()}, "epoch": 3}, file)
    sha = hashlib.sha256(file.read_bytes()).hexdigest()
    return (
        network,
        file,
        Source("http://x/line.pt", "line.pt", "v1"),
        Source("http://x/line.pt", "line.pt", "v1", None, sha),
    )


def unprefixed(state, path):
    return {key.removeprefix("net."): value for key, value in state.items()}


def test_one_helper_finds_compares_and_loads_strictly(line, tmp_path):
    network, file, unhashed, hashed = line

    def load(given, *sources):
        target = torch.nn.Linear(2, 1)
        receipt = load_published(target, given, "line", sources, unprefixed)
        assert torch.equal(target.weight, network.weight)
        return str(receipt)

    whole = "all 2 tensors (3 values) matched"
    assert load(file).endswith(f"line.pt: sha256 {hashed.sha256[:16]}..., {whole}")
    assert load(file, unhashed).endswith(whole)  # nobody knows its hash
    assert load(file, hashed).endswith(f"{whole}; as published, revision v1, licence unknown")
    with pytest.raises(ZooError, match=r"^model.weights: .* is not there; 'eozoo weights fetch line' downloads it$"):
        load("published", unhashed)
    cached = tmp_path / "cache" / "weights" / "line" / "line.pt"
    cached.parent.mkdir(parents=True)
    shutil.copy(file, cached)
    assert load("published", unhashed).endswith("as published, revision v1, licence unknown")  # pinned by now
    mine = tmp_path / "mine.pt"
    torch.save(network.state_dict(), mine)
    assert load(mine, hashed).endswith("; not a file that line names")  # which is no mistake
    shutil.copy(mine, file)
    with pytest.raises(ZooError, match=r"has sha256 .*another file or damaged, and is not used"):
        load(file, hashed)
    shutil.copy(mine, cached)
    with pytest.raises(ZooError, match="another file or damaged, and is not used"):
        load("published", unhashed)


MEANS = "; 'published' means the file that 'eozoo weights fetch line' downloads"


@pytest.mark.parametrize(
    ("given", "sources", "said"),
    [
        ("published", 0, "model.x: no published weights of line are known; give a file"),
        ("none.pt", 0, "model.x none.pt: no such file"),
        (
            "none.pt",
            1,
            "model.x none.pt: no such file; 'published' means the file that 'eozoo weights fetch line' downloads",
        ),
    ],
)
def test_weights_that_are_not_there(line, given, sources, said):
    with pytest.raises(ZooError) as error:
        find_weights(given, "line", line[2:][:sources], "model.x")
    assert str(error.value) == said


def test_published_files_are_matched_and_read_whole(line, tmp_path):
    network, file, *_ = line
    wrong = {"more": {"net.bias": torch.zeros(1), "net.weight": torch.zeros(1, 2), "extra": torch.zeros(1)}, "none": {}}
    for content, said in ((wrong["more"], "1 unexpected"), (wrong["none"], "2 missing"), ([1], "holds no state dict")):
        torch.save(content, file)
        with pytest.raises(ZooError, match=said):
            load_published(network, file, "line", (), unprefixed)
    torch.save({"net.weight": torch.arange(2.0)[None], "net.bias": torch.zeros(1)}, file)
    content = file.read_bytes()
    at = content.index(torch.arange(2.0).numpy().tobytes())
    file.write_bytes(content[:at] + b"!" + content[at + 1 :])
    with pytest.raises(ZooError, match="is damaged"):
        load_published(network, file, "line", (), unprefixed)
