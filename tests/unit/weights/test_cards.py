"""Cards: every model has one, of its own kind, and the list can be printed."""

import subprocess
import sys

import pytest

from sas_jax.capability.registry import PROMPTERS, SYNTHESIZERS
from sas_jax.errors import InputError
from sas_jax.teachers.registry import ENTRIES
from sas_jax.text.registry import TOWERS
from sas_jax.weights import cards


def test_every_model_has_a_card_of_its_kind():
    kinds = {name: entry.contract for name, entry in ENTRIES.items()}
    kinds |= dict.fromkeys(SYNTHESIZERS, "synthesizer")
    kinds |= dict.fromkeys(PROMPTERS, "prompter") | dict.fromkeys(TOWERS, "text")
    found = cards.cards()
    assert {name: found[name].kind for name in kinds} == kinds


def test_every_card_is_sound():
    for name, card in cards.cards().items():
        assert card.name == name and card.title and card.summary and card.trained_on
        for part in card.files:
            assert part.licence and (part.url or part.hub), (name, part.name)


@pytest.mark.parametrize(
    "text", ["title = 'a'", "kind", "title = 'a'\nkind = 'x'\nsummary = ''", "a = 1"]
)
def test_a_card_of_something_else_names_its_file(tmp_path, monkeypatch, text):
    (tmp_path / "odd.toml").write_text(text)
    monkeypatch.setattr(cards, "_FOLDER", tmp_path)
    with pytest.raises(InputError, match=r"odd\.toml"):
        cards.cards.__wrapped__()


def test_the_list_names_every_model_without_torch(tmp_path):
    code = (
        "import runpy, sys; sys.modules['torch'] = None; "
        "runpy.run_module('sas_jax.teachers', run_name='__main__')"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    table, trained, files, _ = done.stdout.split("\n\n")
    assert max(map(len, [*table.splitlines(), *trained.splitlines()])) <= 88
    rows = {line.split()[0]: line for line in table.splitlines()}
    assert rows["lseg"].endswith("no torch") and rows["minilm-l6-v2"].endswith("yes")
    assert rows["sam3"].split()[3:6] == ["3.4", "SAM", "License"]
    assert "  sam: SA-1B: a billion masks without labels" in trained.splitlines()
    assert "lseg needs demo_e200.ckpt" in files or "lseg: " in files
    names = [line.split()[0] for line in table.splitlines()][1:]
    assert set(names) >= {*cards.cards(), *ENTRIES}
