"""What scenes answer, for the report: heat maps, and pages to turn in a browser."""

import functools
import importlib.util
import logging
from collections.abc import Callable

import asking
import numpy as np
import report_pictures as pictures
import settings
import stage_process
import students

from sas_jax.artefacts.features import Features, load_features
from sas_jax.artefacts.superpoints import load_superpoints
from sas_jax.errors import InputError
from sas_jax.evaluation import query
from sas_jax.evaluation.asked import question
from sas_jax.scenes.scene import Scene
from sas_jax.view import report
from sas_jax.view.pictures import contact_sheet, heat_colors
from sas_jax.view.report import Section

_QUERIES = ("something to sit on", "a place to sleep", "where to wash hands")
_TURNED = 2
"""Scenes to turn; each is a page of a few MB beside the report."""


def queries() -> Section | None:
    """Show heat maps of free-text questions that name no class."""
    figures = []
    run = pictures.run_name()
    if settings.workspace().fused_by("capability").exists():
        sheet, told = _answers(_fused_features, averaged=True)
        figures.append(report.picture(sheet, f"{told}, by the fused features."))
    if run is not None:
        features_of = functools.partial(students.scene_features, run)
        sheet, told = _answers(features_of, averaged=False)
        figures.append(report.picture(sheet, f"{told}, by student {run}."))
    text = [
        "As query.py answers: red is what is meant, blue is not. No class name was "
        "asked for; superpoints answer together where images do."
    ]
    return Section("Heat maps", text=text, figures=figures) if figures else None


def _fused_features(scene: Scene) -> Features:
    return load_features(settings.fused_path(scene.name), scene.points)


def _answers(
    features_of: Callable[[Scene], Features], *, averaged: bool
) -> tuple[np.ndarray, str]:
    """Return a sheet with the answers to all questions, one scene a row; and of what.

    Args:
      features_of: returns who answers.
      averaged: let superpoints answer together, where they were made.
    """
    images, captions, told = [], [], ""
    asked = [question(text) for text in _QUERIES]
    for scene in pictures.scenes():
        features = query.unit_features(features_of(scene))
        asker = asking.asker(features.space)
        path = settings.workspace().superpoints(scene.name)
        has_parts = averaged and path.exists()
        together = load_superpoints(path, scene.points) if has_parts else None
        images.append(pictures.drawn(scene, pictures.own_colors(scene)))
        captions.append(scene.name)
        heat = asker.answers(features, together, asked)
        for each, (values,) in zip(asked, heat, strict=True):
            values = np.nan_to_num(values, nan=0.0)
            low, high = asker.scale(each)
            high = max(high, float(values.max()))
            images.append(
                pictures.drawn(scene, heat_colors(values, low=low, high=high))
            )
            captions.append(f'"{each.title}"')
            told = asker.measure(each, words=True)
    sheet = contact_sheet(
        images, 1 + len(_QUERIES), captions=captions, caption_px=pictures.CAPTION_PX
    )
    return sheet, told.capitalize()


def to_turn() -> Section | None:
    """Write a few scenes as view.py shows them, where it can, and link all there are.

    They lie in <workspace>/report/scenes, where `view.py --html` may have put others.
    """
    place = settings.workspace().report.parent / "scenes"
    if importlib.util.find_spec("viser") is not None:
        run = pictures.run_name()
        for scene in pictures.scenes()[:_TURNED]:
            arguments = [
                *stage_process.shared_flags(),
                *(f"--scene={scene.name}", "--source=student"),
                *([f"--run={run}"] if run is not None else []),
                *(f"--text={_QUERIES[0]}", f"--html={place / scene.name}.html"),
            ]
            try:
                stage_process.run("view.py", arguments, table=False)
            except InputError as error:  # a report without it is one all the same
                logging.warning("%s is no scene to turn: %s", scene.name, error)
                break
    pages = sorted(place.glob("*.html"))
    if not pages:
        return None
    text = "Pages as view.py writes them; they need neither a server nor a network."
    links = [(page.stem, f"scenes/{page.name}") for page in pages]
    return Section("Scenes to turn", text=[text], links=links)


SECTIONS = (
    pictures.frames,
    to_turn,
    pictures.predictions,
    queries,
    pictures.instances,
    pictures.capability,
    pictures.superpoints,
    pictures.curves,
)
"""Each returns a section of the report, or None without its data."""
