r"""Make a student of a checkpoint that OpenScene or SAS published, or the way back.

  python experiments/import_checkpoint.py --checkpoint=scannet_lseg.pth.tar \
      --out=scannet_lseg.safetensors
  python experiments/import_checkpoint.py --student=scannet_lseg.safetensors \
      --export=model_best.pth.tar

Network, channels and text space follow from the names and shapes of the arrays:
MinkUNet14A to 34C, 512 channels of CLIP ViT-B/32 or 768 of ViT-L/14@336. Every array
has its place, or the error names those that have none. Give --voxel_size_m=0.05 for a
student of nuScenes. evaluate.py and query.py take the file by --student, train.py by
--init_from. --export writes --student, or the student of --run, for their code; what
was imported comes back bit by bit, without the optimiser.
"""

import pathlib

import settings
import stage_flags
from absl import flags
from student_names import chosen, student_file

from sas_jax.artefacts.files import sha256_file
from sas_jax.distill.checkpoint import load_student
from sas_jax.distill.config import TrainConfig
from sas_jax.errors import InputError
from sas_jax.models.released import read_checkpoint, write_checkpoint
from sas_jax.models.student_card import read_card
from sas_jax.models.student_file import read_student, write_student
from sas_jax.text.known_texts import PUBLISHED

_CHECKPOINT = flags.DEFINE_string("checkpoint", None, "Published file, .pth.tar.")
_OUT = flags.DEFINE_string("out", None, "File of the student, .safetensors.")
_EXPORT = flags.DEFINE_string("export", None, "File to write for their code, .pth.tar.")
_PREFIX = flags.DEFINE_enum(
    "prefix", "module.net3d.", ["module.net3d.", "net3d.", ""], "Before exported names."
)


def main() -> None:
    """Import --checkpoint into --out, or write --export."""
    importing = _CHECKPOINT.value is not None and _OUT.value is not None
    if importing == (_EXPORT.value is not None):
        raise InputError(
            "import_checkpoint: --checkpoint with --out, or --export, is required, got "
            "both or neither. Give a file to read and one to write."
        )
    if importing:
        _import()
    else:
        _export()


def _import() -> None:
    size = stage_flags.TRAIN.values().get("voxel_size_m", TrainConfig.voxel_size_m)
    student = read_checkpoint(_CHECKPOINT.value, size, PUBLISHED)
    name, checksum = (
        pathlib.Path(_CHECKPOINT.value).name,
        sha256_file(_CHECKPOINT.value),
    )
    data = f"imported from {name}, SHA-256 {checksum[:12]}"
    write_student(_OUT.value, student, data=data, exact=True)
    print(f"{read_card(_OUT.value).table()}\nstudent: {_OUT.value}")


def _export() -> None:
    name = chosen()
    file = student_file(name)
    if file is not None:
        student = read_student(file)
    else:
        student = load_student(settings.workspace().checkpoints(name))
    write_checkpoint(_EXPORT.value, student, _PREFIX.value)
    print(f"{student.config.arch} of {student.text_space}\ncheckpoint: {_EXPORT.value}")


if __name__ == "__main__":
    settings.run(main)
