"""Stages that do nothing but say that they ran: for tests of what starts them.

Each leaves a line in `$STUB_LOG`. `measure_capability` refuses a second one at once, as
the real one does; `train` fails, hangs or learns badly as files beside the log ask for.
"""

import shutil
import textwrap

_COMMON = """
import os, pathlib, signal, sys
from sas_jax.artefacts.workspace import Workspace
flags = dict(a[2:].partition("=")[::2] for a in sys.argv[1:])
workspace = Workspace(flags["workspace"])
log = pathlib.Path(os.environ["STUB_LOG"])

def note(*words):
    with open(log, "a") as file:
        print(*words, file=file, flush=True)
"""
_STAGES = {
    "extract_features": """
from sas_jax.artefacts.files import write_json
from sas_jax.artefacts.stage import Job, run_jobs
stride = flags.get("frame_stride", "1")

def make(job):
    note("extract", stride)
    write_json(job.path, {}, key=job.key, schema="stub/1")

run_jobs([Job("a", workspace.features("lseg", "a").with_suffix(".json"), stride)], make)
""",
    "measure_capability": """
from sas_jax.artefacts.lock import workspace_lock
with workspace_lock(workspace.capability):
    done = workspace.capability / "done"
    if not done.exists():
        sum(range(10_000_000))
        note("capability")
        done.touch()
""",
    "fuse_features": """
note("fuse", flags["strategy"], flags.get("level", "point"))
""",
    "train": """
from sas_jax.view.tensorboard import SummaryWriter
rate, run = float(flags["learning_rate"]), flags["run"]
note("train", rate, flags["seed"], flags.get("branch_from", "-"))
for name in ("fails", "hangs"):
    asked = log.with_name(f"{name}-{rate}")
    if asked.exists() and name == "fails":
        asked.unlink()
        sys.exit("error: train: a good rate is required, got a bad one. Mend it.")
    if asked.exists():
        signal.pause()
writer = SummaryWriter(str(workspace.tensorboard(run)))
for epoch in range(1, int(flags["epochs"]) + 1):
    writer.add_scalar("epoch/loss", rate / epoch, epoch)
    writer.flush()
    if log.with_name(f"worse-{rate}").exists():
        signal.pause()
""",
    "evaluate": """
import numpy as np
from sas_jax.evaluation import protocol
right = round(1000 / (1 + float(flags.get("learning_rate", 1))) + int(flags["seed"]))
counts = np.array([[right, 1000 - right, 0], [0, 10, 0]])
path = workspace.scores(flags["eval_split"], flags["methods"])
note("evaluate", flags["methods"].partition("/")[0], flags["eval_split"])
protocol.save(path, protocol.Evaluation(flags["methods"], "two", {"a": counts}), "key")
""",
}


def write(root, folder):
    """Copy the scripts into a folder, with these stages; return the folder.

    Args:
      root: of the repository.
      folder: gets `experiments`.
    """
    scripts = folder / "experiments"
    shutil.copytree(root / "experiments", scripts)
    for name, text in _STAGES.items():
        defines = (root / "experiments" / f"{name}.py").read_text()
        kept = f"if False:\n{textwrap.indent(defines, '    ')}"
        (scripts / f"{name}.py").write_text(f"{_COMMON}{text}\n{kept}\n")
    return scripts
