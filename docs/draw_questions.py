"""Draw docs/questions.png: a test room of the demo, its classes, and three answers.

make demo
python docs/draw_questions.py data/rooms/scans/room0007_00 runs/rooms
"""

import pathlib
import sys

import sas_jax

QUESTIONS = (
    "something to sit on",
    "a place to sleep",
    "something that keeps food cold",
)


def main(room: str, workspace: str) -> None:
    """Draw what the fused features of a room answer, averaged over superpoints."""
    scene = sas_jax.open_scene(room)
    place = pathlib.Path(workspace) / "fused" / "capability"
    fused = sas_jax.load_features(place / f"{scene.name}.safetensors", scene.points)
    together = sas_jax.cut_superpoints(scene)
    names = scene.label_set.classes.names
    panels = {
        "the scan": None,
        "true classes": scene.labels,
        "classes by text alone": sas_jax.predict(fused, scene, names),
    }
    for text in QUESTIONS:
        answer = sas_jax.ask(fused, scene, text, superpoints=together)
        sure = f", {100 * answer.regions[0].score:.0f} % sure" if answer.regions else ""
        panels[f'"{text}"{sure}'] = answer.heat
        print(answer)
    picture = sas_jax.show(scene, panels, scene.label_set, heat=(0.0, 0.5))
    picture.save(pathlib.Path(__file__).with_name("questions.png"))


if __name__ == "__main__":
    main(*sys.argv[1:])
