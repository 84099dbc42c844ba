"""Sweeps: trials that differ in their flags, and what became of them.

`plan` reads the file that says what varies, `table` says what was best, `picture` draws
it. What a trial is, and where it runs, is the scripts' business.
"""

VERSION = 0
"""It decides no numbers; see `artefacts.versions`."""
