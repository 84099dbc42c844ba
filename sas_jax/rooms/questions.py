"""The questions that come with the rooms."""

import pathlib

VERSION = 0
"""It decides no numbers; see `artefacts.versions`."""


def questions_path() -> pathlib.Path:
    """Return the CSV: names, paraphrases and attributes of what rooms have, and more.

    A third of them asks for what no room has. An attribute ("a wooden door") is not
    judged: any thing of the class is right.
    """
    return pathlib.Path(__file__).with_suffix(".csv")
