"""The article that stands before a noun."""

import re

VERSION = 2
"""Raised when its numbers change; see `artefacts.versions`."""

# Vowels that sound like "you" or "one"; and a silent h, "uninviting", "L-shaped".
_CONSONANT_SOUND = re.compile(r"eu|ew|ur[aeio]|u[kt][aeiu]|us[aeu]|uni|one\b", re.I)
_VOWEL_SOUND = re.compile(r"unin|unim|hour|heir|honest|hono|[flmnrsx]-", re.I)
_PLURALS = frozenset({"people", "men", "women", "children"})
_SINGULAR = re.compile(r"(?:ss|us|is|gas|lens|canvas|atlas|bias)$")


def with_article(phrase: str) -> str:
    """Return the phrase with "a" or "an", by its sound; a plural one as it is."""
    last = phrase.rpartition(" ")[2].lower()
    if last in _PLURALS or (last.endswith("s") and not _SINGULAR.search(last)):
        return phrase
    vowel = phrase[:1].lower() in "aeiou" and not _CONSONANT_SOUND.match(phrase)
    return f"an {phrase}" if vowel or _VOWEL_SOUND.match(phrase) else f"a {phrase}"
