"""Copy a workspace to object storage, or from there: S3, GCS, Azure, a folder.

  python experiments/mirror.py --workspace=runs/rooms --to=s3://bucket/rooms
  python experiments/mirror.py --workspace=runs/rooms --from=s3://bucket/rooms
      --only=features,train/full-seed0

For machines that share no file system: each pulls what it needs, works, and pushes
what it made. What is there already is skipped, a copy that is cut short goes on with
the same command, sums are checked on the way, nothing is deleted. Credentials are
those of the environment (AWS_ACCESS_KEY_ID, AWS_ENDPOINT for one's own server, ...).
Other scripts do both by themselves with --remote.
"""

import time

import settings
from absl import flags
from tqdm import tqdm

from sas_jax.artefacts.mirror import Mirror
from sas_jax.errors import InputError

_TO = flags.DEFINE_string("to", None, "Address to push the workspace to.")
_FROM = flags.DEFINE_string("from", None, "Address to pull the workspace from.")
_ONLY = flags.DEFINE_list("only", [], "First parts of paths; default: everything.")


def main() -> None:
    """Copy what is not there yet, and print how much that was."""
    if (_TO.value is None) == (_FROM.value is None):
        raise InputError(
            f"mirror: one of --to and --from is required, got --to={_TO.value} and "
            f"--from={_FROM.value}. Give one address."
        )
    root, began = settings.workspace().root, time.monotonic()
    mirror = Mirror(root, _TO.value or _FROM.value)
    copy, doing = (mirror.push, "push") if _TO.value else (mirror.pull, "pull")
    with tqdm(desc=doing, unit="file") as bar:
        done = copy(_ONLY.value, lambda _: bar.update())
    row = {
        "copied": done.files,
        "there already": done.current,
        "still changing": done.moving,
        "MB": round(done.bytes / 1e6, 1),
        "seconds": round(time.monotonic() - began, 1),
    }
    print(settings.table([row]))


if __name__ == "__main__":
    settings.run(main)
