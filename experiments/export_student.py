r"""Write a run's student as one small file, to keep, to share or to begin from.

  python experiments/export_student.py --flagfile=rooms.flags --run=full-seed0 \
      --out=rooms_student.safetensors

The file holds the weights of the run's newest checkpoint, kernels in half precision,
and a card: network, voxels, text space, steps, data, and the scores on --eval_split
where evaluate.py has measured this very checkpoint. query.py and evaluate.py take it by
--student, train.py by --init_from.
"""

import evaluate
import settings
import stage_flags
from absl import flags
from student_names import check_run

from sas_jax.artefacts.files import read_json
from sas_jax.artefacts.workspace import CONFIG
from sas_jax.distill.checkpoint import load_student
from sas_jax.distill.train import CONFIG_SCHEMA
from sas_jax.errors import InputError
from sas_jax.models.student_card import read_card
from sas_jax.models.student_file import write_student

_OUT = flags.DEFINE_string("out", None, "File, .safetensors.", required=True)
_DATA = flags.DEFINE_string(
    "data_note", None, "What it was trained on; default: the names of its scenes."
)


def main() -> None:
    """Write the student of --run to --out."""
    workspace, run = settings.workspace(), stage_flags.RUN.value
    check_run(run)
    student = load_student(workspace.checkpoints(run))
    data = _DATA.value
    if data is None:
        record = read_json(workspace.run(run) / CONFIG, schema=CONFIG_SCHEMA)
        data = _scenes(list(record["scenes"]))
    write_student(_OUT.value, student, data=data, scores=_scores())
    print(f"{read_card(_OUT.value).table()}\nstudent: {_OUT.value}")


def _scenes(names: list[str]) -> str:
    if len(names) == 1:
        return f"1 scene, {names[0]}"
    return f"{len(names)} scenes, {names[0]} to {names[-1]}"


def _scores() -> dict[str, float]:
    """Return the scores of the newest checkpoint, where they are up to date."""
    try:
        scenes = evaluate.label_keys()
        found = evaluate.kept(f"student/{stage_flags.RUN.value}", scenes)
    except InputError as error:
        print(f"without scores: {error}")
        return {}
    split = stage_flags.EVAL_SPLIT.value
    if found is None:
        print(f"without scores: none of this checkpoint on {split}; see evaluate.py")
        return {}
    scores = found.scores()
    return {
        f"{split} mIoU": round(scores.miou, 2),
        f"{split} mAcc": round(scores.macc, 2),
        f"{split} accuracy": round(scores.overall, 2),
    }


if __name__ == "__main__":
    settings.run(main)
