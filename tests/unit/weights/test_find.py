"""Where weights are looked for, and what is said when they are nowhere."""

import functools
import hashlib
import http.server
import threading

import pytest

from sas_jax.errors import InputError, WeightsMissing
from sas_jax.weights import cards, find
from sas_jax.weights.cards import Card, WeightsFile

CONTENT = b"weights" * 1000


@pytest.fixture
def model(monkeypatch, tmp_path):
    """A model of two files and an optional one, in an empty world."""
    monkeypatch.delenv(find.VARIABLE, raising=False)
    monkeypatch.setenv("SAS_JAX_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    described = Card(
        "duo",
        "Duo",
        "mask",
        "Two files.",
        files=(
            WeightsFile("duo.pt", "network", "MIT", 1.4, "https://example.org/duo"),
            WeightsFile("words.bin", "words", "MIT"),
            WeightsFile("more.bin", "more", "MIT", optional=True),
        ),
    )
    single = Card(
        "folder", "F", "text", "A folder.", files=(WeightsFile("*", "", "MIT"),)
    )
    known = {"duo": described, "folder": single}
    monkeypatch.setattr(cards, "cards", lambda: known)
    monkeypatch.setattr(find, "cards", lambda: known)
    return described


def put(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(CONTENT)
    return path


def test_missing_files_say_all_that_helps(model, monkeypatch, tmp_path):
    with pytest.raises(WeightsMissing) as error:
        find.find_file("duo", "duo.pt")
    said = str(error.value)
    for part in (
        *("duo.pt (1.4 GB, MIT)", "$SAS_JAX_WEIGHTS (not set)", "https://example.org"),
        *(str(tmp_path / "cache" / "weights" / "duo"), "--weights=duo=random:0"),
    ):
        assert part in said
    assert "--download" not in said  # which could not fetch it


@pytest.mark.parametrize("place", ["env", "env of all", "cache"])
def test_places_without_a_path(model, monkeypatch, tmp_path, place):
    monkeypatch.setenv(find.VARIABLE, str(tmp_path / "all"))
    folder = {"env": "all/duo", "env of all": "all", "cache": "cache/weights/duo"}
    path = put(tmp_path / folder[place] / "words.bin")
    assert find.find_file("duo", "words.bin") == path
    assert find.found_files("duo") is None
    put(path.with_name("duo.pt"))
    assert len(find.found_files("duo")) == 2


def test_a_path_that_is_given(model, tmp_path):
    first, second = put(tmp_path / "renamed.pt"), put(tmp_path / "words.bin")
    assert find.find_file("duo", "duo.pt", str(first)) == first
    assert find.find_file("duo", "words.bin", str(first)) == second
    put(tmp_path / "duo.pt")
    assert find.find_file("duo", "duo.pt", str(tmp_path)) == tmp_path / "duo.pt"
    assert find.found_files("duo", str(tmp_path)) == [tmp_path / "duo.pt", second]
    with pytest.raises(WeightsMissing, match="--weights=duo=/nowhere"):
        find.find_file("duo", "duo.pt", "/nowhere")


def test_the_rest_of_a_model_may_lie_elsewhere(model, monkeypatch, tmp_path):
    monkeypatch.setenv(find.VARIABLE, str(tmp_path / "all"))
    first, second = put(tmp_path / "a" / "x.pt"), put(tmp_path / "all" / "words.bin")
    assert find.find_file("duo", "words.bin", str(first)) == second


def test_folders_of_transformers(model, monkeypatch, tmp_path):
    with pytest.raises(WeightsMissing, match="folder needs"):
        find.find_folder("folder")
    monkeypatch.setenv(find.VARIABLE, str(tmp_path))
    put(tmp_path / "folder" / "config.json")
    assert find.find_folder("folder") == tmp_path / "folder"
    with pytest.raises(WeightsMissing, match=f"none in {tmp_path}"):
        find.find_folder("folder", str(tmp_path))
    with pytest.raises(WeightsMissing, match="org/name"):
        find.find_folder("folder", "org/name")


def test_a_folder_is_fetched_when_asked_for(model, monkeypatch, tmp_path):
    part = WeightsFile("*", "", "MIT", hub="org/published")
    find.cards()["hub"] = Card("hub", "H", "text", "", files=(part,))
    asked = []

    def snapshot_download(repository, local_files_only=False):
        if local_files_only:
            raise FileNotFoundError(repository)
        asked.append(repository)
        return str(tmp_path)

    monkeypatch.setattr("huggingface_hub.snapshot_download", snapshot_download)
    assert find.find_folder("hub", download=True) == tmp_path
    assert find.find_folder("hub", "org/other", download=True) == tmp_path
    assert asked == ["org/published", "org/other"]
    with pytest.raises(WeightsMissing):  # a folder that is there, of something else
        find.find_folder("hub", str(tmp_path), download=True)
    with pytest.raises(WeightsMissing) as told:
        find.find_folder("hub")
    assert "--weights" not in str(told.value)  # which takes no text towers


def test_models_whose_weights_are_here_are_named(model, tmp_path):
    put(tmp_path / "cache" / "weights" / "duo" / "duo.pt")
    put(tmp_path / "cache" / "weights" / "duo" / "words.bin")
    other = Card("lone", "L", "dense", "", files=(WeightsFile("l.pt", "", "MIT"),))
    find.cards()["lone"] = other
    with pytest.raises(WeightsMissing, match=r"With weights here: duo\."):
        find.find_file("lone", "l.pt")


@pytest.fixture
def server(tmp_path):
    """Serves a folder on the loopback."""
    handler = functools.partial(
        http.server.SimpleHTTPRequestHandler, directory=str(tmp_path / "web")
    )
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as serving:
        threading.Thread(target=serving.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{serving.server_port}"
        serving.shutdown()


def published(address, name, sha256=""):
    part = WeightsFile(name, "", "MIT", download=f"{address}/{name}", sha256=sha256)
    find.cards()["web"] = Card("web", "W", "dense", "", files=(part,))


def test_nothing_is_fetched_unasked(model, server, tmp_path):
    put(tmp_path / "web" / "w.pt")
    published(server, "w.pt", hashlib.sha256(CONTENT).hexdigest())
    with pytest.raises(WeightsMissing, match="--download does that"):
        find.find_file("web", "w.pt")
    found = find.find_file("web", "w.pt", download=True)
    assert found.read_bytes() == CONTENT
    assert find.find_file("web", "w.pt") == found


def test_another_file_than_the_published_one_is_not_kept(model, server, tmp_path):
    put(tmp_path / "web" / "w.pt")
    published(server, "w.pt", "0" * 64)
    with pytest.raises(InputError, match="another checksum"):
        find.find_file("web", "w.pt", download=True)
    assert not any((tmp_path / "cache").rglob("w.pt*"))


def test_an_address_without_the_file(model, server, tmp_path):
    (tmp_path / "web").mkdir()
    published(server, "gone.pt")
    with pytest.raises(WeightsMissing, match="404"):
        find.find_file("web", "gone.pt", download=True)


def test_a_server_that_stops_in_the_middle_is_told(model, monkeypatch, tmp_path):
    class Server(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            if self.path == "/stalls.pt":
                stalled.wait(30)
            self.wfile.write(b"no HTTP at all\r\n\r\n")

        def log_message(self, *args):
            """Say nothing."""

    stalled = threading.Event()
    monkeypatch.setattr(find, "_PATIENCE_SECONDS", 0.2)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Server) as serving:
        threading.Thread(target=serving.serve_forever, daemon=True).start()
        for name in ("stalls.pt", "talks.pt"):
            published(f"http://127.0.0.1:{serving.server_port}", name)
            with pytest.raises(WeightsMissing, match=f"{name} must come from"):
                find.find_file("web", name, download=True)
        stalled.set()
        serving.shutdown()


def test_seeds():
    assert find.seed_of("random:12") == 12
    assert find.seed_of("a.pt") is find.seed_of("a/random:0") is None
    assert find.seed_of(None) is None


@pytest.mark.parametrize("seed", ["", "x", "-1", "1.5", " 1", "9" * 10, "9" * 5000])
def test_what_is_no_seed_is_told(seed):
    with pytest.raises(InputError, match=r"random: and a whole number.*random:0"):
        find.seed_of(f"random:{seed}")


@pytest.mark.parametrize("place", ["file", "nowhere"])
def test_a_variable_that_leads_to_no_folder_is_told(
    model, monkeypatch, tmp_path, place
):
    put(tmp_path / "file")
    monkeypatch.setenv(find.VARIABLE, str(tmp_path / place))
    with pytest.raises(WeightsMissing, match=f"WEIGHTS/duo .*{place} is no folder"):
        find.find_file("duo", "duo.pt")


def test_a_folder_may_be_another_part_than_what_is_given(model, monkeypatch, tmp_path):
    parts = (WeightsFile("own.pth", "", "MIT"), WeightsFile("*", "", "MIT", hub="a/b"))
    cards.cards()["both"] = Card("both", "B", "mask", "Two parts.", files=parts)
    given = put(tmp_path / "own.pth")
    with pytest.raises(WeightsMissing):
        find.find_folder("both", str(given))
    usual = tmp_path / "weights" / "both"
    put(usual / "model_index.json")
    monkeypatch.setenv(find.VARIABLE, str(tmp_path / "weights"))
    assert find.find_folder("both", str(given)) == usual
    assert find.found_files("both", str(given)) == [given, usual]
    put(tmp_path / "model_index.json")
    assert find.find_folder("both", str(tmp_path)) == tmp_path
