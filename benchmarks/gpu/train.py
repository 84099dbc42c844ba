"""Ten training steps of scannet.flags' true size, on generated rooms, in memory.

One process per batch size (workers.py): MinkUNet18A at 2 cm, 512 channels, Eq. 10 on
superpoints, Adam, by the trainer's own step.
"""

import sys

import rows
import workers

BATCH_SIZES = (2,) if rows.REHEARSE else (1, 4, 12)
PRECISIONS = ("f32",) if rows.REHEARSE else ("f32", "tf32")
PATIENCE = workers.Patience.of_day(ready=80, measure=40)


def main() -> None:
    cases = [("train_steps.py", str(batch), precision)
             for batch in BATCH_SIZES for precision in PRECISIONS]  # fmt: skip
    failed = workers.run_all(cases, PATIENCE)
    for name in failed:
        print(f"failed: {name}")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
