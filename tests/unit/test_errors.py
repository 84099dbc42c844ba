"""Messages of errors stay one line of bounded length, whatever they quote."""

import pickle

import pytest

from sas_jax.errors import DamagedFile, InputError


@pytest.mark.parametrize("kind", [InputError, DamagedFile])
def test_a_message_is_one_line(kind):
    error = kind("scan: a file is required, got none (a\nb\x1b[31m\udcff). Look.")
    assert str(error) == (
        "scan: a file is required, got none (a\\nb\\x1b[31m\\udcff). Look."
    )
    assert str(pickle.loads(pickle.dumps(error))) == str(error)


def test_a_long_quotation_is_cut_and_the_remedy_stays():
    said = str(InputError(f"scan: numbers, got {'[' * 10**6} (file). Copy it again."))
    assert len(said) < 2100
    assert said.startswith("scan: numbers") and said.endswith("(file). Copy it again.")


def test_letters_of_all_scripts_stay_as_they_are():
    assert str(InputError("zimmer/küche 部屋")) == "zimmer/küche 部屋"
