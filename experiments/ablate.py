"""Run the whole ablation: all fusions, all students of Table 3, three seeds.

  python experiments/ablate.py --flagfile=rooms_full.flags

The same stages as pipeline.py; only the number of seeds differs. The table, the
figures and `results.json` are in <workspace>/report/.
"""

import pipeline
import settings
import stage_flags
from absl import flags

if __name__ == "__main__":
    flags.set_default(stage_flags.STUDENT_SEEDS, ["0", "1", "2"])
    settings.run(pipeline.main)
