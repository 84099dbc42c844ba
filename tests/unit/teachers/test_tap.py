"""TAP: points of masks, pictures as it takes them, sentences, and its files."""

import dataclasses
import pickle

import det_weights
import numpy as np
import pytest
import torch
from PIL import Image

from sas_jax.errors import ContractError, InputError
from sas_jax.lifting.align import align
from sas_jax.registry import LoadOptions
from sas_jax.teachers.contracts import Segments
from sas_jax.teachers.tap import captioner as tap
from sas_jax.teachers.tap.convert import network_of, read_network
from sas_jax.teachers.tap.network import Tap, TapSizes, best_of_points
from sas_jax.teachers.tap.tokenizer import SentencePieces, StandIn, sentence

TINY = TapSizes(
    image_size=96,
    patch_size=8,
    window_size=4,
    depth=4,
    embed_dim=24,
    num_heads=3,
    image_embed_dim=32,
    decoder_mlp_dim=48,
    sem_embed_dim=8,
    sem_hidden_dim=12,
    text_embed_dim=64,
    text_depth=2,
    vocab=90,
)
WORDS = """a wooden table near the window; two white chairs; one red sofa on a grey
rug; the old brown door of a small room; black shelves with many blue books"""


@pytest.fixture(scope="module")
def network():
    """Its sentences depend on the picture; those of random weights hardly do."""
    state = {
        name: torch.from_numpy(np.asarray(det_weights.tensor(name, tensor.shape)))
        for name, tensor in Tap(TINY).state_dict().items()
    }
    return network_of(state, "a test")


@pytest.fixture
def captioner(network):
    return tap.TapCaptioner(network, StandIn(), "random:0")


@pytest.fixture(scope="module")
def vocabulary(tmp_path_factory):
    sentencepiece = pytest.importorskip("sentencepiece")
    path = tmp_path_factory.mktemp("tap") / "text_tokenizer.model"
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(WORDS.split(";") * 9),
        model_prefix=str(path.with_suffix("")),
        model_type="bpe",
        vocab_size=TINY.vocab,
        pad_id=-1,
        minloglevel=2,
    )
    return path


def picture(height=45, width=70):
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)


def masks(height=45, width=70):
    ids = np.zeros((height, width), np.int32)
    ids[5:20, 10:30], ids[25:44, 3:40], ids[2:30, 45:68] = 1, 2, 4
    return Segments(ids, ["sofa", "bed", "wall", "lamp"], np.ones(4, np.float32))


def test_every_mask_gets_its_own_sentence_and_an_empty_one_none(captioner):
    said = captioner.caption(picture(), masks())
    assert said[2] == ""
    assert all(text.startswith("token") for text in said[:2] + said[3:])
    assert all(1 <= len(text.split()) <= 38 for text in said[:2] + said[3:])
    alone = masks()
    alone.ids[alone.ids != 4] = 0
    assert captioner.caption(picture(), alone) == ["", "", "", said[3]]


def test_sentences_do_not_depend_on_how_many_are_asked_at_once(captioner, monkeypatch):
    said = captioner.caption(picture(), masks())
    monkeypatch.setattr(tap, "_PROMPTS_AT_ONCE", 1)
    assert captioner.caption(picture(), masks()) == said


def test_the_sentence_is_of_the_point_and_of_the_picture(captioner):
    said = captioner.caption(picture(), masks())
    moved = masks()
    moved.ids = np.ascontiguousarray(moved.ids[::-1, ::-1])
    assert captioner.caption(picture(), moved) != said
    assert captioner.caption(np.zeros_like(picture()), masks()) != said


def test_an_image_without_masks_is_not_looked_at(captioner, monkeypatch):
    monkeypatch.setattr(captioner._network, "features", None)
    empty = Segments(np.zeros((4, 6), np.int32), [], np.zeros(0, np.float32))
    assert captioner.caption(picture(4, 6), empty) == []


def test_captions_go_through_alignment(captioner):
    class Tower:
        dim = 2

        def encode(self, texts):
            self.texts = texts
            return np.ones((len(texts), 2), np.float32)

    segments, tower = masks(), Tower()
    segments.captions = captioner.caption(picture(), segments)
    align(segments, tower)
    assert tower.texts == ["a sofa", "a bed", "a wall in a scene", "a lamp"]


def test_masks_of_another_size_are_refused(captioner):
    with pytest.raises(ContractError, match="masks of the image's size"):
        captioner.caption(picture(), masks(40, 70))


def test_the_id_says_weights_vocabulary_and_sizes(network):
    def key(weights="random:0", vocabulary="stand-in", sizes=TINY):
        words = StandIn()
        words.id = vocabulary
        other = Tap(sizes) if sizes != TINY else network
        return tap.TapCaptioner(other, words, weights).id

    longer = dataclasses.replace(TINY, text_seq_len=41)
    assert key() == key() and key().startswith("tap/")
    ids = {key(), key(weights="random:1"), key(vocabulary="x"), key(sizes=longer)}
    assert len(ids) == 4


@pytest.mark.parametrize("shape", [(45, 70), (70, 45), (96, 96), (1, 500), (37, 37)])
def test_pictures_are_scaled_padded_and_turned_to_bgr(shape):
    image = picture(*shape)
    canvas, scale = tap.prepared(image, 96)
    assert canvas.shape == (96, 96, 3) and canvas.dtype == np.uint8
    height, width = (max(int(edge * scale + 0.5), 1) for edge in shape)
    assert max(height, width) == 96
    resized = Image.fromarray(image).resize((width, height), Image.Resampling.BILINEAR)
    np.testing.assert_array_equal(canvas[:height, :width, ::-1], np.asarray(resized))
    for rest in (canvas[height:], canvas[:, width:]):
        assert (rest == [103, 116, 123]).all()


def test_the_deepest_point_is_the_first_of_the_deepest():
    mask = np.zeros((20, 30), bool)
    mask[2:9, 4:11], mask[12:19, 20:27] = True, True  # two squares, equally deep
    assert tap.deepest_point(mask) == (7, 5)
    mask[12:20, 18:28] = True
    assert tap.deepest_point(mask) == (22, 16)  # further from the edges of the mask
    line = np.zeros((5, 5), bool)
    line[3, 1:4] = True
    assert tap.deepest_point(line) == (1, 3)


def test_the_first_candidate_never_wins_a_point():
    iou = torch.tensor([[9.0, 0.1, 0.3, 0.2], [0.0, -3.0, -4.0, -2.0]])
    assert best_of_points(iou).tolist() == [2, 3]


def test_a_sentence_ends_where_it_says_so(vocabulary):
    words = SentencePieces(vocabulary, TINY.vocab)
    assert (words.bos, words.eos) == (1, 2)
    ids = words._pieces.encode("a red sofa")
    assert sentence([1, *ids, 2, 7, 7], words) == "a red sofa"
    assert sentence([1, *ids], words) == "a red sofa"
    assert sentence([1, 2], words) == ""
    assert sentence([1, 7, 41, 2], StandIn()) == "token7 token41"


def test_random_weights_need_no_file(monkeypatch):
    monkeypatch.setattr(tap, "Tap", lambda: Tap(TINY))
    first, second, other = (
        tap.load(LoadOptions(weights=f"random:{seed}")) for seed in (0, 0, 1)
    )
    assert first.id == second.id != other.id
    said = [each.caption(picture(), masks()) for each in (first, second, other)]
    assert said[0] == said[1] != said[2]
    first.close()


def written(state, folder, protocol=4):
    path = folder / "tap_vit_h_v1_1.pkl"
    with path.open("wb") as file:
        pickle.dump(state, file, protocol=protocol)
    return path


@pytest.mark.parametrize("kind", ["arrays", "tensors"])
@pytest.mark.parametrize("protocol", [2, 4])
def test_published_files_fill_the_network(
    network, vocabulary, tmp_path, kind, protocol
):
    state = dict(network.state_dict())
    state["image_encoder.blocks.0.attn.rel_pos_embed.index"] = torch.zeros(16, 16)
    if kind == "arrays":
        state = {name: tensor.numpy() for name, tensor in state.items()}
    path = written(state, tmp_path, protocol)
    (tmp_path / vocabulary.name).write_bytes(vocabulary.read_bytes())
    captioner = tap.load(LoadOptions(weights=str(path)))
    assert captioner._network.sizes == TINY
    said = captioner.caption(picture(), masks())
    direct = tap.TapCaptioner(network, SentencePieces(vocabulary, TINY.vocab), "x")
    assert said == direct.caption(picture(), masks())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"pixel_mean": None}, "1 missing: pixel_mean"),
        ({"image_decoder.iou_token.weight": np.zeros((2, 32), np.float32)}, "shape"),
        ({"image_encoder.pos_embed.weight": None}, "Tokenize Anything is required"),
        ({"strange.weight": np.zeros(3, np.float32)}, "1 left over: strange.weight"),
    ],
)
def test_files_of_other_models_are_refused_by_name(network, change, message):
    state = {**network.state_dict(), **change}
    state = {k: torch.as_tensor(v) for k, v in state.items() if v is not None}
    with pytest.raises(InputError, match=message):
        network_of(state, "a.pkl")


def test_damaged_and_dangerous_files_are_refused(network, tmp_path):
    state = {name: tensor.numpy() for name, tensor in network.state_dict().items()}
    path = written(state, tmp_path)
    path.write_bytes(path.read_bytes()[:-2000])
    with pytest.raises(InputError, match=str(path)):
        read_network(path)

    class Evil:
        def __reduce__(self):
            return (pytest.fail, ("it ran",))

    with pytest.raises(InputError):
        read_network(written({"pixel_mean": Evil()}, tmp_path))


def test_other_vocabularies_are_refused(vocabulary, tmp_path):
    with pytest.raises(InputError, match="a vocabulary of 91 tokens"):
        SentencePieces(vocabulary, 91)
    broken = tmp_path / "text_tokenizer.model"
    broken.write_bytes(vocabulary.read_bytes()[:100])
    with pytest.raises(InputError, match="SentencePiece vocabulary is required"):
        SentencePieces(broken, TINY.vocab)
