"""Every flag that a flagfile may hold, by stage.

One flagfile describes an experiment and serves all of its stages, so every script
knows every flag here and uses those of its stage. Values of None leave a default to
the configuration that the flag belongs to (a frozen dataclass of the library, whose
docstring says more). Flags that only make sense on a command line stay in the script.
"""

import os

from absl import flags

from sas_jax.scenes.poses import CONVENTIONS

_COMPAT = ["paper", "official"]

# Where things are
WORKSPACE = flags.DEFINE_string("workspace", "runs/scannet", "Folder of all results.")
DATA_ROOT = flags.DEFINE_string("data_root", "data/scannet", "Folder of the data set.")
DATASET = flags.DEFINE_string(
    "dataset", None, "Which one it is; default: recognised by what lies in it."
)
LABEL_SET = flags.DEFINE_string(
    "label_set", None, "Classes to score on; default: the data set's first ones."
)
SPLITS = flags.DEFINE_list("splits", "train,val,test", "Splits to prepare.")
SCENES = flags.DEFINE_list("scenes", [], "Only these scenes; default: whole splits.")
COMPAT = flags.DEFINE_enum(
    "compat", "paper", _COMPAT, "Which recipe, where paper and authors' code differ."
)
DEVICE = flags.DEFINE_string("device", "cpu", "Device of the PyTorch networks.")
VERIFY = flags.DEFINE_bool(
    "verify", False, "Hash every file again, even where size, time and inode stand."
)
THREADS = flags.DEFINE_integer(
    "threads", os.cpu_count() or 1, "CPU threads, or processes of one thread each.", 1
)
DEBUG = flags.DEFINE_bool("debug", False, "Show the traceback of every error.")

# Procedural rooms
MAKE_ROOMS = flags.DEFINE_bool("make_rooms", False, "Generate the data set first.")
NUM_TRAIN = flags.DEFINE_integer("num_train", 16, "Rooms to train on.", 0, 900)
NUM_VAL = flags.DEFINE_integer("num_val", 6, "Rooms to choose settings by.", 0, 900)
NUM_TEST = flags.DEFINE_integer("num_test", 6, "Rooms to report numbers on.", 0, 900)
WORLD_SEED = flags.DEFINE_integer("world_seed", 0, "Which rooms.", 0, 999)
FRAMES_PER_ROOM = flags.DEFINE_integer("frames_per_room", 40, "Frames.", 1, 10_000)
DESIGNS = flags.DEFINE_enum(
    "designs",
    "typical",
    ["typical", "all"],
    "Furniture of the rooms: two to seven designs of a class, or the whole catalogue.",
)
IMAGE_WIDTH = flags.DEFINE_integer(
    "image_width", 320, "Width of rendered frames; height is 3/4 of it.", 32, 4096
)
SPACING_M = flags.DEFINE_float("spacing_m", 0.04, "Between mesh vertices.", 0.01, 0.5)

# Teachers and lifting
TEACHERS = flags.DEFINE_list("teachers", "lseg,seem", "Teachers, in order.")
TEACHER_WEIGHTS = flags.DEFINE_list(
    "teacher_weights", [], "name=path or name=random:0 where not the default ones."
)
CAPTIONER = flags.DEFINE_string("captioner", "colour-size", "Captioner of the masks.")
FRAME_STRIDE = flags.DEFINE_integer("frame_stride", 1, "Every n-th frame.", 1)
IMAGE_SIZE = flags.DEFINE_list("image_size", "320,240", "Frame width and height.")
OCCLUSION = flags.DEFINE_float("occlusion_threshold", None, "Share of the depth.", 0)
BORDER_PX = flags.DEFINE_integer("border_px", 10, "Pixels cut at image edges.", 0)

# Posed RGB-D: named like the fields of PosedRgbd
flags.DEFINE_enum("up", None, ["z", "camera", "surfaces"], "What is up in the poses.")
flags.DEFINE_float("depth_scale", None, "Units of stored depth per metre.")
flags.DEFINE_enum(
    "pose_convention",
    None,
    CONVENTIONS,
    "opencv or opengl axes, world_from_camera or its inverse; default: opencv, if "
    "frames confirm it.",
)
flags.DEFINE_bool("check_depth", None, "Refuse a median depth that no room has.")

# Capability
VOCABULARY = flags.DEFINE_string(
    "vocabulary", "indoor", "Classes that capability and fusion compare on."
)
SYNTHESIZER = flags.DEFINE_string("synthesizer", "small", "What paints the images.")
DIFFUSION_WEIGHTS = flags.DEFINE_string(
    "diffusion_weights", None, "File or folder of the painter; default: its own."
)
POINT_PROMPTER = flags.DEFINE_string(
    "point_prompter", "grabcut", "What refines masks by points."
)
SAM_WEIGHTS = flags.DEFINE_string("sam_weights", None, "Folder; default: the cache.")
IMAGES_PER_CLASS = flags.DEFINE_integer(
    "images_per_class", 8, "Images of each class (m); 50 officially.", 1
)
DIFFUSION_STEPS = flags.DEFINE_integer("diffusion_steps", None, "Denoising steps.", 1)
GUIDANCE = flags.DEFINE_float("guidance", None, "Classifier-free guidance.")
ATTENTION_THRESHOLD = flags.DEFINE_float(
    "attention_threshold", None, "On the attention map.", 0, 1
)
TEACHER_PX = flags.DEFINE_integer(
    "teacher_px", 128, "Edge at which teachers see the images; 0 = as painted.", 0
)
CAPABILITY_SEED = flags.DEFINE_integer("capability_seed", 0, "Of the first image.")

# Superpoints and fusion
K_THRESHOLD = flags.DEFINE_float(
    "k_threshold", 0.01, "Preference for large superpoints.", 0
)
MIN_VERTICES = flags.DEFINE_integer(
    "min_vertices", 60, "Least number of points of a superpoint.", 0
)
STRATEGY = flags.DEFINE_enum(
    "strategy",
    "capability",
    ["capability", "add", "linear", "single"],
    "How teachers are fused; students learn from the result.",
)
TEACHER = flags.DEFINE_string(
    "teacher", None, "The one that --strategy=single keeps; default: the first."
)
TAU = flags.DEFINE_float("tau", 0.05, "Temperature of Eq. 8.", 0)

# Scores
EVAL_SPLIT = flags.DEFINE_string("eval_split", "test", "Split to score and report on.")

# Which students the pipeline trains
STUDENTS = flags.DEFINE_list(
    "students", ["point", "superpoint", "full"], "Variants of Table 3."
)
STUDENT_SEEDS = flags.DEFINE_list("student_seeds", ["0"], "Seeds of each variant.")

# A student that is there already
STUDENT = flags.DEFINE_string(
    "student", None, "File of a student (.safetensors) that answers, instead of --run."
)
INIT_FROM = flags.DEFINE_string(
    "init_from", None, "Whose weights to begin with: a student's file, or a run."
)

# Student: named like the fields of StudentConfig, TrainConfig and RunConfig
# Lists of other modules are repeated here: importing them would load JAX into the
# processes of the teachers. A test compares.
ARCH = flags.DEFINE_enum(
    "arch",
    "MinkUNet18A",
    [
        "MinkUNet14S",
        *(f"MinkUNet14{kind}" for kind in "ABCD"),
        *(f"MinkUNet18{kind}" for kind in "ABD"),
        *(f"MinkUNet34{kind}" for kind in "ABC"),
    ],
    "Student network.",
)
IMPL = flags.DEFINE_enum(
    "impl",
    None,
    ["native", "xla", "spconv"],
    "Sparse convolution; default: the fastest.",
)
AUGMENT = flags.DEFINE_enum(
    "augment",
    "full",
    ["full", "rigid", "aligned", "shift", "none"],
    "Random transforms of training scenes: the authors', the same without elastic "
    "distortion, quarter turns and mirror images, shifts of the voxel grid, or none.",
)
SUPERPOINTS = flags.DEFINE_bool(
    "superpoints", True, "Use superpoints; without, each point is its own (nuScenes)."
)
DISTILL = flags.DEFINE_enum(
    "distill", None, ["superpoint", "point"], "What is distilled."
)
flags.DEFINE_integer("epochs", None, "Epochs of both stages.", 1)
flags.DEFINE_float("self_distillation", None, "Last part with Eq. 13.", 0, 1)
flags.DEFINE_bool("keep_distillation", None, "Keep Eq. 10 in the second stage.")
flags.DEFINE_integer("loop", None, "Passes over the scenes per epoch.", 1)
flags.DEFINE_integer("batch_size", None, "Scenes per step.", 1)
flags.DEFINE_float("voxel_size_m", None, "Edge of a voxel, metres.", 1e-4)
flags.DEFINE_integer("max_sample_voxels", None, "Supervised voxels per step.", 1)
flags.DEFINE_float("ema_alpha", None, "Weight of the past, Eq. 11.", 0, 1)
flags.DEFINE_float("logit_scale", None, "Of unit features in Eq. 13; default: raw.", 0)
flags.DEFINE_float("learning_rate", None, "At the first step.", 0)
flags.DEFINE_float("final_learning_rate", None, "At the last step.", 0)
flags.DEFINE_enum("schedule", None, ["linear", "poly"], "Course of the learning rate.")
flags.DEFINE_bool("sync_bn", None, "Batch statistics over all devices.")
flags.DEFINE_integer("seed", None, "Of parameters, order and transforms.", 0)
flags.DEFINE_integer("checkpoint_epochs", None, "Between checkpoints.", 1)
flags.DEFINE_float("checkpoint_minutes", None, "Between checkpoints.", 0)
flags.DEFINE_integer("keep_last", None, "Newest checkpoints to keep.", 1)
flags.DEFINE_integer("log_steps", None, "Between scalars on disk.", 1)
flags.DEFINE_integer("num_workers", None, "Processes that load.", 0)
flags.DEFINE_integer("num_threads", None, "Threads that load.", 1)
flags.DEFINE_integer("prefetch", None, "Batches made ahead.", 1)
flags.DEFINE_float("cache_gb", None, "Memory for scenes; default: a quarter.", 0)
flags.DEFINE_bool("progress", None, "Show a progress bar.")
