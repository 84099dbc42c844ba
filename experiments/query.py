r"""Ask a scan for something in words; get a heat map and the best regions.

  python experiments/query.py --scene=my/scan --text="something to sit on"
  python experiments/query.py --flagfile=rooms.flags --scene=room0009_00 \
      --text="a desk"

A scene is the folder or file of a scan of any known layout, or a name in the data set.
Whatever is due runs by itself and is kept, so the second question is answered at once:
the cloud of posed frames (every --frame_stride-th), the teachers' features, their
capability, fusion, superpoints, the student's features. A killed run goes on where it
stopped.

A text may be several, `--text="a chair | a sofa"`: what fits any of them answers.
`--without="office chair"` leaves out what fits that name better than the text.
`--among=wall,floor,chair,table` holds the text against a list of names: the answer is
all that it fits better than each of them and than words that fit anything. The more of
what is in the scan the list names, the better.

Who answers says --source; `auto` asks the student that was chosen or trained here, else
features beside a file of Gaussians, else the scan's images, else the package's student.
Of images, superpoints answer together. Without a flagfile results lie in runs/query,
and `imagenet` looks at the images: it knows photographs. Where its weights are not
installed, the teachers that come with the package do; they know procedural rooms only.

Writes <workspace>/queries/<scan>-<key of its path>/<who>-<key of what decides>/<text>/:
answer.json, and where there is an answer sheet.png to look at and to print, heat.ply
with the heat as a scalar field, and the best --regions cut out, object<n>.ply and, of
meshes, object<n>.glb. Of a file of Gaussians the PLY files are such, too.
"""

import time

import answer_sheets
import asking
import numpy as np
import settings
import sources
import stage_flags
from absl import flags

from sas_jax.evaluation import query
from sas_jax.evaluation.asked import Question
from sas_jax.evaluation.asker import Asker

_TEXT = flags.DEFINE_multi_string("text", None, "What to look for.", required=True)
_SCENE = flags.DEFINE_string(
    "scene", None, "Scene name, folder or file.", required=True
)
_REGIONS = flags.DEFINE_integer(
    "regions", 5, "Regions to print, to list and to cut out.", lower_bound=0
)
flags.adopt_module_key_flags(sources)
flags.adopt_module_key_flags(asking)

sources.set_defaults()


def main() -> None:
    """Answer every --text on one scene."""
    began = time.monotonic()
    asked = [asking.question(text) for text in _TEXT.value]
    source = sources.of(_SCENE.value)
    features, scene = source.features, source.scene
    read = settings.check_texts(features.space, [t for one in asked for t in one.texts])
    asker = asking.asker(features.space)
    asker.warn(read)
    decided = stage_flags.ANSWER.make(), stage_flags.ANSWER_BY.value
    output = source.folder(*decided)
    writer = answer_sheets.Writer(source, asker, output, _REGIONS.value)
    ready = time.monotonic() - began
    print(f"answered by: {source.who}")
    unseen = 100 * float((features.row < 0).mean())
    if unseen >= 1:
        print(f"{unseen:.0f} % of the points are seen by no image")
    if asker.fit is None and not any(question.among for question in asked):
        print("scores say how much better a text fits than any would: no probabilities")
    began = time.monotonic()
    heat = asker.answers(features, source.superpoints, asked)
    each = (time.monotonic() - began) / len(heat)
    for question, rows in zip(asked, heat, strict=True):
        began = time.monotonic()
        found = asker.found(question, scene.points, rows, source.find)
        answered = each + time.monotonic() - began
        folder = writer.write(question, rows.max(axis=0), found)
        _print(question, found, scene.origin, asker)
        print(f"answered in {1000 * answered:.0f} ms, scene ready in {ready:.1f} s")
        print(f"  {folder / 'sheet.png' if found else folder}")
    print(f"answers: {output}")


def _print(
    question: Question,
    found: list[query.Region],
    origin: np.ndarray,
    asker: Asker,
) -> None:
    text, score = question.title, asker.scores(question)
    shown = text if len(text) <= 80 else f"{text[:80]}..."
    listed = min(len(found), _REGIONS.value)
    best = f", the best {listed}" if listed < len(found) else ""
    print(f'\n"{shown}": {len(found)} region{"s" * (len(found) != 1)}{best}')
    if not found:
        bar = "fits better than those names" if question.among else asker.bar
        print(f"  nothing {bar}; no heat map is written")
    if not listed:
        return
    print(f"  {score:>11}  {'centre x y z [m]':^22}  {'size [m]':^20}  points")
    for region in found[: _REGIONS.value]:
        centre = " ".join(f"{v:7.2f}" for v in region.center_m + origin)
        size = " ".join(f"{v:6.2f}" for v in region.size_m)
        count = len(region.points)
        print(f"  {region.score:>11.2f}  {centre:^22}  {size:^20}  {count:,}")


if __name__ == "__main__":
    settings.run(main)
