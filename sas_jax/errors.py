"""Errors, one line each: `where: requirement, got value. Remedy`."""

VERSION = 0
"""It decides no numbers; see `artefacts.versions`."""


class InputError(ValueError):
    """Report input that a user can mend; scripts print it as one line and exit 1."""


class ContractError(ValueError):
    """Report arrays that break what a function asks of its caller, whatever the input.

    No user of a script can mend that: it is a fault of the code that calls, here or in
    a teacher of one's own, and shown with its traceback.
    """


class DamagedFile(InputError):
    """Report an artefact whose size or checksum differs from what was written."""


class WeightsMissing(InputError):
    """Report absent model weights, where they were looked for and how to get them."""


class WorkspaceBusy(InputError):
    """Report that another run holds the lock of the same folder."""
