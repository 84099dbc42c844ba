"""Errors, one line each: `where: requirement, got value. Remedy`."""

import errno

VERSION = 0
"""It decides no numbers; see `artefacts.versions`."""


# What a damaged file is quoted with may be as long as the file.
_LONGEST = 2000


class InputError(ValueError):
    """Report input that a user can mend; scripts print it as one line and exit 1."""

    def __init__(self, message: str):
        super().__init__(_one_line(message))


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


# What a disk, a network or the system says when it cannot, whatever the file holds.
_OF_THE_SYSTEM = {
    errno.EIO,
    errno.ESTALE,
    errno.ENOSPC,
    errno.EDQUOT,
    errno.EROFS,
    errno.EMFILE,
    errno.ENFILE,
    errno.ENOMEM,
    errno.ENODEV,
    errno.ETIMEDOUT,
    errno.ENOTCONN,
    errno.EFBIG,
}


def system_error(error: BaseException | None) -> OSError | None:
    """Return what the system could not do and an error came of, None for other causes.

    A file that it did not let be read says nothing about what the file holds, so that
    nothing may be concluded from it, such as that a frame is damaged.
    """
    while error is not None:
        if isinstance(error, OSError) and error.errno in _OF_THE_SYSTEM:
            return error
        error = error.__cause__
    return None


def _one_line(message: str) -> str:
    """Return a message without line ends and without the middle of an endless one.

    File names and what is quoted from files may hold anything; the remedy comes last.
    """
    if len(message) > _LONGEST:
        message = f"{message[: _LONGEST // 4]} ... {message[-3 * _LONGEST // 4 :]}"
    if message.isprintable():
        return message
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in message)
