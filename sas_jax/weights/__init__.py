"""Published models: what each is, which files it is made of, and where those lie.

A card (`cards/<name>.toml`) describes a model for people and lists its files; `find`
looks for them on this machine. Nothing is downloaded unless that is asked for.
"""

VERSION = 0
"""It decides no numbers: what is found stands in keys by its content."""
