"""Every flag that a flagfile may hold, by stage.

One flagfile describes an experiment and serves all of its stages, so every script
knows every flag here and uses those of its stage. Flags of the library's configurations
are made from them (`config_flags`); those that are written out here belong to the
scripts alone. Flags that only make sense on a command line stay in their script.
"""

import os
import typing

import config_flags
from absl import flags

from sas_jax.capability.config import CapabilityConfig, Score, SynthesisConfig
from sas_jax.datasets.capture import CaptureDataset
from sas_jax.datasets.geometry import Geometry
from sas_jax.datasets.nuscenes import NuScenes
from sas_jax.datasets.scannet import ScanNet
from sas_jax.datasets.scannetpp import ScanNetPP
from sas_jax.distill.config import RunConfig, TrainConfig, named_augmentation
from sas_jax.evaluation.answers import AnswerConfig
from sas_jax.fusion.fuse import FuseConfig
from sas_jax.gaussians.training_config import SeedConfig, SplatTrainConfig
from sas_jax.instances.matching import MIN_POINTS
from sas_jax.instances.naming import NamingConfig
from sas_jax.instances.proposals import ProposalConfig
from sas_jax.lifting.config import ExtractConfig, LiftConfig
from sas_jax.models.config import StudentConfig, StudentPrecision
from sas_jax.registry import Precision
from sas_jax.rooms.catalogue import named_designs
from sas_jax.rooms.layout.config import RoomConfig
from sas_jax.rooms.scan.config import RoomsConfig, SurfaceConfig, WriteConfig
from sas_jax.superpoints.config import SuperpointConfig
from sas_jax.teachers.lseg.config import LSegConfig
from sas_jax.teachers.odise.config import OdiseSettings
from sas_jax.teachers.patch_config import ClipSegConfig, PatchConfig
from sas_jax.teachers.seem.config import SeemConfig

# Scripts that use the flags below a heading, for their --help.
_ALL = ("pipeline", "sweep", "trial")
_SPREAD = ("extract_features", "measure_capability", "make_superpoints")
_ROOMS = ("measure_capability", "pretrain_rooms")
_FEATURES = (
    "extract_features",
    "measure_capability",
    "fuse_features",
    "query",
    "view",
    "predict",
)
_FUSED = (
    "make_superpoints",
    "fuse_features",
    "query",
    "view",
    "predict",
    "train",
    "evaluate",
    "report",
)
_ANSWERS = ("query", "view", "predict", "evaluate", "export_student", "report")

config_flags.heading("Where things are")
WORKSPACE = flags.DEFINE_string("workspace", "runs/scannet", "Folder of all results.")
REMOTE = flags.DEFINE_string(
    "remote",
    None,
    "Where the workspace is kept between machines, s3://bucket/prefix, gs://, az:// or "
    "file://: pulled first, pushed meanwhile and at the end; needs the extra cloud.",
)
REMOTE_ONLY = flags.DEFINE_list(
    "remote_only", [], "First parts of paths to pull; default: everything."
)
REMOTE_MINUTES = flags.DEFINE_float(
    "remote_minutes", 5.0, "Minutes between two pushes.", lower_bound=0.001
)
DATA_ROOT = flags.DEFINE_string("data_root", "data/scannet", "Folder of the data set.")
DATASET = flags.DEFINE_string(
    "dataset", None, "Which one it is; default: recognised by what lies in it."
)
LABEL_SET = flags.DEFINE_string(
    "label_set", None, "Classes to score on; default: the data set's first ones."
)
SPLITS = flags.DEFINE_list("splits", "train,val,test", "Splits to prepare.")
SUPERPOINT_SCORES = flags.DEFINE_bool(
    "superpoint_scores",
    None,
    "Average scores over superpoints: a second row of each method in evaluate.py, by "
    "default where superpoints were made; the answer of query.py, by default where "
    "images answer.",
)
EVAL_SPLIT = flags.DEFINE_string("eval_split", "test", "Split to score and report on.")
SCENES = flags.DEFINE_list("scenes", [], "Only these scenes; default: whole splits.")
RUN = flags.DEFINE_string(
    "run", "full-seed0", "Training run: to be trained, or whose student is used."
)

config_flags.heading("How stages run")
DEVICE = flags.DEFINE_string("device", "cpu", "Device of the PyTorch networks.")
THREADS = flags.DEFINE_integer(
    "threads", os.cpu_count() or 1, "CPU threads, or processes of one thread each.", 1
)
VERIFY = flags.DEFINE_bool(
    "verify", False, "Hash every file again, even where size, time and inode stand."
)
DRY_RUN = flags.DEFINE_bool(
    "dry_run",
    False,
    "Say what train.py or pipeline.py would do: settings, what is there and what is "
    "missing, memory and time, after two steps of each stage on generated scenes.",
)
DRY_RUN_POINTS = flags.DEFINE_integer(
    "dry_run_points",
    None,
    "Points of each of these scenes at most, so that small machines train them too; "
    "default: as many as the data set's scenes have, or ScanNet's.",
    1,
)
DEBUG = flags.DEFINE_bool("debug", False, "Show the traceback of every error.")

config_flags.heading("Workers", *_ALL, *_SPREAD)
WORKERS = flags.DEFINE_integer(
    "workers",
    1,
    "Processes that share the scenes, or the classes of capability; each loads its own "
    "models, and --threads are divided among them.",
    1,
)
RAY = flags.DEFINE_string(
    "ray",
    None,
    "Let Ray place the workers: auto joins the cluster that this machine is of, "
    "HOST:PORT another one, local begins one here.",
)
GPUS_PER_WORKER = flags.DEFINE_float(
    "gpus_per_worker",
    None,
    "GPUs that Ray assigns to each; default: 1 with --device=cuda, else 0. 0.5 lets "
    "two share one.",
    0.0,
)

config_flags.heading("Procedural rooms", "make_rooms", *_ALL, *_ROOMS)
MAKE_ROOMS = flags.DEFINE_bool("make_rooms", False, "Generate the data set first.")
ROOM_SET = config_flags.define(
    RoomsConfig, leave_out=("rooms", "write"), names={"seed": "rooms_seed"}
)
ROOM = config_flags.define(
    RoomConfig, only=("designs",), named={"designs": named_designs}
)
ROOM_FRAMES = config_flags.define(
    WriteConfig,
    only=("num_frames", "size_wh"),
    names={"num_frames": "frames_per_room", "size_wh": "render_size"},
)
ROOM_SURFACE = config_flags.define(SurfaceConfig, only=("spacing_m",))

config_flags.heading("Teachers and lifting", *_ALL, *_FEATURES)
TEACHERS = flags.DEFINE_list("teachers", "lseg,seem", "Teachers, in order.")
WEIGHTS = flags.DEFINE_list(
    "weights",
    [],
    "name=path of teachers and captioner, where $SAS_JAX_WEIGHTS and the caches do not "
    "have them; name=random:0 is a smoke test.",
)
DOWNLOAD = flags.DEFINE_bool(
    "download", False, "Fetch published weights that are not on this machine."
)
LABEL_SPACE = flags.DEFINE_string(
    "label_space",
    None,
    "Text space of mask teachers' labels; default: that of the first dense teacher.",
)
PRECISION = flags.DEFINE_enum(
    "precision",
    "f32",
    typing.get_args(Precision),
    "What teachers compute with images in; half precision is for GPUs and CPUs that "
    "have it, and its features are files of their own key.",
)
CAPTIONER = flags.DEFINE_string("captioner", "colour-size", "Captioner of the masks.")
MODELS = {
    "lseg": config_flags.define(
        LSegConfig,
        leave_out=("compat",),
        names={field: f"lseg_{field}" for field in LSegConfig.__dataclass_fields__},
    ),
    "seem": config_flags.define(
        SeemConfig,
        leave_out=("compat",),
        names={field: f"seem_{field}" for field in SeemConfig.__dataclass_fields__},
    ),
    **{
        name: config_flags.define(
            PatchConfig, names={"short_side": f"{name.replace('-', '_')}_short_side"}
        )
        for name in ("maskclip", "maskclip-b32", "siglip2", "tipsv2")
    },
    "clipseg": config_flags.define(
        ClipSegConfig, names={"side": "clipseg_side", "prompt": "clipseg_prompt"}
    ),
    "odise": config_flags.define(
        OdiseSettings,
        names={field: f"odise_{field}" for field in OdiseSettings.__dataclass_fields__},
    ),
}
LIFT = config_flags.define(
    LiftConfig,
    helps={"compat": "Which recipe, where paper and authors' code differ."},
)
EXTRACT = config_flags.define(
    ExtractConfig,
    leave_out=("lift",),
    names={"image_size_wh": "image_size"},
)

config_flags.heading("Data sets")  # the fields of each, by name
config_flags.define(
    CaptureDataset,
    only=("up", "scale", "depth_scale", "pose_convention", "check_depth"),
)
config_flags.define(Geometry)
config_flags.define(NuScenes, only=("sweep_window_s",))
config_flags.define(ScanNet, only=("axis_aligned",))
config_flags.define(ScanNetPP)

config_flags.heading("Capability", *_ALL, *_FEATURES)
VOCABULARY = flags.DEFINE_string(
    "vocabulary", "indoor", "Classes that capability and fusion compare on."
)
SYNTHESIS = config_flags.define(SynthesisConfig)
CAPABILITY = config_flags.define(CapabilityConfig, names={"seed": "capability_seed"})
CAPABILITY_SCORE = flags.DEFINE_enum(
    "capability_score",
    "own",
    typing.get_args(Score),
    "own: a class on the images of that class, Eq. 3. all: what a teacher says falsely "
    "on the images of other classes counts too; for teachers of unlike strength.",
)
CAPABILITY_FROM = flags.DEFINE_list(
    "capability_from",
    [],
    "Tables of capability that were measured elsewhere: another workspace, its "
    "capability folder, or files. Nothing is painted then.",
)

config_flags.heading("Superpoints and fusion", *_ALL, *_FUSED)
SUPERPOINT = config_flags.define(SuperpointConfig, leave_out=("neighbors",))
FUSE = config_flags.define(FuseConfig, leave_out=("other_index",))
FUSIONS = flags.DEFINE_list(
    "fusions",
    ["capability", "add", "linear"],
    "Strategies that pipeline.py makes and scores beside --strategy's.",
)
LEVEL = flags.DEFINE_enum(
    "level", "point", ["point", "superpoint"], "What to store; superpoints take 2 %."
)

config_flags.heading("Students", *_ALL, *_ANSWERS)
STUDENT = flags.DEFINE_string(
    "student",
    None,
    "Who answers where no --run is given: a student of the package (rooms), or a file "
    "(.safetensors).",
)
STUDENT_PRECISION = flags.DEFINE_enum(
    "student_precision",
    "f32",
    typing.get_args(StudentPrecision),
    "What students compute in when they answer. bf16 is nearly twice as fast and is "
    "for GPUs and processors that multiply it (AVX512_BF16).",
)
config_flags.heading("Training", *_ALL, "train")
STUDENTS = flags.DEFINE_list(
    "students", ["point", "superpoint", "full"], "Variants of Table 3."
)
TASKS = flags.DEFINE_list(
    "tasks", [], "What pipeline.py scores beside points: instances, questions (rooms')."
)
STUDENT_SEEDS = flags.DEFINE_list("student_seeds", ["0"], "Seeds of each variant.")
INIT_FROM = flags.DEFINE_string(
    "init_from",
    None,
    "Whose weights to begin with: a student of the package (rooms), a file, or a run.",
)
SUPERPOINTS = flags.DEFINE_bool(
    "superpoints", True, "Use superpoints; without, each point is its own (nuScenes)."
)
NETWORK = config_flags.define(
    StudentConfig, leave_out=("in_channels", "out_dim", "sync_axis")
)
TRAIN = config_flags.define(
    TrainConfig,
    leave_out=("student", "initial_weights"),
    names={"level": "distill"},
    named={"augment": named_augmentation},
)
TRAIN_RUN = config_flags.define(
    RunConfig,
    leave_out=(
        *("best_metric", "validate_epochs", "log_steps"),
        *("keep_last", "num_threads"),
    ),
)

config_flags.heading("Answers", "query", "view", "evaluate")
ANSWER = config_flags.define(
    AnswerConfig, names={"least": "answer_least", "share": "answer_share"}
)
ANSWER_BY = flags.DEFINE_enum(
    "answer_by",
    "auto",
    ["auto", "relevancy"],
    "What an answer is scored by: its probability, where one was fitted for the text "
    "tower, or how much better it fits than words that fit anything.",
)
config_flags.heading("Proposals", "segment_instances")
PROPOSALS = config_flags.define(
    ProposalConfig,
    names={
        "crease": "proposal_crease",
        "masks": "proposal_masks",
        "min_points": "proposal_min_points",
        "least": "proposal_least",
        "max_share": "proposal_max_share",
        "same": "proposal_same",
        "most": "proposals",
        "neighbors": "proposal_neighbors",
    },
)
MASK_VOTES = flags.DEFINE_list(
    "mask_votes", [], "Mask teachers that vote for what belongs together."
)
config_flags.heading("Instances", "segment_instances", "evaluate")
MIN_REGION = flags.DEFINE_integer(
    "min_region", MIN_POINTS, "Points of an instance that is scored, at least.", 1
)
NAMING = config_flags.define(
    NamingConfig,
    names={
        "reading": "naming",
        "top_k": "naming_top_k",
        "rank": "instance_score",
        "temperature": "naming_temperature",
        "asked": "naming_classes",
    },
)

config_flags.heading("Gaussians", "train_splats")
SPLATS = config_flags.define(
    SplatTrainConfig,
    leave_out=("seeds", "rates", "render"),
    names={"steps": "splat_steps", "seed": "splat_seed"},
)
SPLAT_SEEDS = config_flags.define(SeedConfig, names={"seeds": "splat_seeds"})

config_flags.heading("")


def check() -> None:
    """Check the values of all flags of configurations, before any work.

    Raises:
      InputError: for one out of its range.
    """
    ROOM_SET.make(rooms=ROOM.make(), write=rooms_written())
    EXTRACT.make(lift=LIFT.make())
    for flags_of in (
        SYNTHESIS,
        CAPABILITY,
        SUPERPOINT,
        FUSE,
        NETWORK,
        TRAIN_RUN,
        PROPOSALS,
        NAMING,
    ):
        flags_of.make()
    TRAIN.make()
    splat_training()


def splat_training() -> SplatTrainConfig:
    """Return how Gaussians are trained."""
    return SPLATS.make(seeds=SPLAT_SEEDS.make())


def rooms_written() -> WriteConfig:
    """Return what is written of a room."""
    return ROOM_FRAMES.make(surface=ROOM_SURFACE.make())


def strategy() -> str:
    """Return how teachers are fused; students learn from the result."""
    return FUSE.make().strategy
