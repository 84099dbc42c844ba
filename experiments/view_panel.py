"""The panel of the viewer: what is typed and clicked changes a `View`, and is drawn."""

import datetime
import functools
import html
import io
import threading
from collections.abc import Callable, Sequence
from typing import Any

import view_state
import viser
from PIL import Image
from view_state import View

from sas_jax.errors import InputError
from sas_jax.evaluation.query import Region
from sas_jax.instances.masks import NO_CLASS
from sas_jax.view.browser.canvas import Box, Canvas
from sas_jax.view.browser.page import static_page

_BOXES, _THINGS = "answer boxes", "instance boxes"
_PHOTOGRAPHS = "/photographs"


class Panel:
    """Widgets of one server; all browsers that open it share what they show."""

    def __init__(
        self,
        server: viser.ViserServer,
        canvas: Canvas,
        view: View,
        photographs: Callable[[], None] | None,
    ) -> None:
        """Build the panel and draw the view.

        Args:
          server: that browsers open.
          canvas: draws into it.
          view: what is shown.
          photographs: draws them at the first time they are asked for; None without.
        """
        self._server, self._canvas, self._view = server, canvas, view
        self._photographs = photographs
        self._lock = threading.RLock()
        self._listed: list[Any] = []
        self._classes_listed: list[Any] = []
        self._present: list[int] = []
        self._boxes_shown, self._things_drawn = True, False
        server.gui.configure_theme(
            show_logo=False, show_share_button=False, control_width="large"
        )
        server.gui.set_panel_label("sas_jax")
        server.gui.main_panel.dock_right()
        self._build()
        self.draw()
        canvas.overview()

    def draw(self) -> None:
        """Draw colours, boxes, lists and legends as the view says."""
        view, canvas = self._view, self._canvas
        with self._lock, self._server.atomic():
            canvas.show(view.shown, [view.colors(name) for name in view.shown])
            self._list_answers()
            answered = view.colours == view_state.ANSWER
            for index, name in enumerate(view.shown):
                boxes = answered * [
                    Box(region.center_m, region.size_m, str(number))
                    for number, region in enumerate(view.regions(name), 1)
                ]
                canvas.boxes(_BOXES, index, boxes)
            canvas.layer(_BOXES, self._boxes_shown)
            self._draw_things()
            self._legend.content = view.legend() if answered else ""
            self._colours.value = view.colours
            self._note.content = _small(canvas.thinned)
            self._note.visible = bool(canvas.thinned)
            if view.colours == view_state.CLASSES:
                self._list_classes()

    def ask(
        self, text: str, without: Sequence[str] = (), among: Sequence[str] = ()
    ) -> None:
        """Ask, as if it were typed; see `asked.question`."""
        self._view.ask(text, without, among)
        self._question.value = text
        self._without.value, self._among.value = ", ".join(without), ", ".join(among)
        self.draw()

    def page(self, camera: Any = None) -> str:
        """Return the present view as HTML, from where a browser's camera stands."""
        if camera is not None:
            begin = self._server.initial_camera
            begin.position, begin.look_at = camera.position, camera.look_at
            begin.fov = camera.fov
        view = self._view
        words = view.legend()
        if view.question and view.colours == view_state.ANSWER:
            words = f"<div>{html.escape(view.question.title)}</div>{words}"
            for name in view.shown:
                words += _small(view.told(name))
        told = ", ".join(view.shown)
        return static_page(
            self._server, view.scene.name, f"{words}{_small(f'by {told}')}"
        )

    def _build(self) -> None:
        gui, view = self._server.gui, self._view
        with gui.add_form(None) as form:
            self._question = gui.add_text(
                "Find", "", hint="One text, or several: a | b"
            )
            self._without = gui.add_text(
                "Without", "", hint="Names that are not meant: a, b"
            )
            self._among = gui.add_text(
                *("Among", ""),
                hint="Names that it must win against: a, b",
            )
        form.on_submit(self._on_question)
        self._colours = gui.add_dropdown(
            "Colours", view_state.COLOURS, initial_value=view.colours
        )
        self._colours.on_update(self._on_colours)
        self._legend, self._note = gui.add_html(""), gui.add_html("")
        tabs = gui.add_tab_group()
        with tabs.add_tab("Answers"):
            self._answers = gui.add_folder("Found", visible=True)
            if any(view.answerer(name).is_fitted for name in view.shown):
                self._abstain = gui.add_slider(
                    *("Abstain", 0.0, 2.0, 0.05, view.abstain),
                    hint="The price of a false find: higher is more careful.",
                )
                self._abstain.on_update(self._on_abstain)
        with tabs.add_tab("Classes") as self._classes:
            told = f"The classes of {view.labels.classes.name}. Colours: classes."
            gui.add_html(_small(told))
        with tabs.add_tab("Compare"):
            gui.add_html(_small("Who answers, side by side:"))
            for name in view.sources:
                box = gui.add_checkbox(name, name in view.shown)
                box.on_update(functools.partial(self._on_source, name, box))
        with tabs.add_tab("Layers"):
            self._build_layers()
        with tabs.add_tab("Keep"):
            gui.add_html(_small("What is shown now:"))
            gui.add_button("Picture (PNG)").on_click(self._on_picture)
            gui.add_button("Page to turn (HTML)").on_click(self._on_page)
            gui.add_html(_small("The page needs no server and no network."))

    def _build_layers(self) -> None:
        gui, canvas = self._server.gui, self._canvas
        gui.add_checkbox("Answers' boxes", True).on_update(self._on_boxes)
        self._things = gui.add_checkbox("Instances' boxes", False)
        self._things.on_update(lambda event: self._on_things())
        if self._photographs is not None:
            gui.add_checkbox("Photographs", False).on_update(self._on_photographs)
        heights = canvas.shape.points[:, 2]
        low, top = (round(float(h), 2) for h in (canvas.low[2], heights.max() + 0.1))
        cut = gui.add_slider(
            *("Hide above", low, top, 0.05, min(canvas.top_m, top)),
            hint="In metres. Ceilings hide what is below them.",
        )
        cut.on_update(self._on_cut)
        gui.add_button("All in view").on_click(self._on_overview)

    def _guarded(self, event: Any, change: Callable[[], None]) -> None:
        """Change the view and draw it; what is wrong is told, and nothing changes."""
        with self._lock:
            try:
                change()
            except InputError as error:
                if event.client is not None:
                    event.client.add_notification(
                        "That cannot be shown", str(error), color="red"
                    )
            self.draw()

    def _on_question(self, event: Any) -> None:
        names = [_names(box.value) for box in (self._without, self._among)]
        self._guarded(event, lambda: self._view.ask(self._question.value, *names))

    def _on_abstain(self, event: Any) -> None:
        self._view.abstain = float(self._abstain.value)
        self._guarded(event, lambda: None)

    def _on_colours(self, event: Any) -> None:
        if event.client is not None:  # else it was set here
            self._view.colours = self._colours.value
            self._guarded(event, lambda: None)

    def _on_source(self, name: str, box: Any, event: Any) -> None:
        if event.client is None:
            return
        names = set(self._view.shown) ^ {name}
        wait = event.client.add_notification(
            name, "is being made ready", loading=True, with_close_button=False
        )
        self._guarded(event, lambda: self._view.show(list(names)))
        wait.remove()
        box.value = name in self._view.shown
        self._canvas.overview(list(self._server.get_clients().values()))

    def _on_boxes(self, event: Any) -> None:
        self._boxes_shown = event.target.value
        self._canvas.layer(_BOXES, self._boxes_shown)

    def _on_things(self) -> None:
        with self._lock:
            self._draw_things()

    def _on_photographs(self, event: Any) -> None:
        with self._lock:
            if self._photographs is not None:
                self._photographs()
                self._photographs = None
        self._canvas.layer(_PHOTOGRAPHS, event.target.value)

    def _on_cut(self, event: Any) -> None:
        view = self._view
        with self._lock:
            colors = [view.colors(name) for name in view.shown]
            self._canvas.cut(float(event.target.value), colors)
        self._guarded(event, lambda: None)

    def _on_picture(self, event: Any) -> None:
        camera, data = event.client.camera, io.BytesIO()
        pixels = event.client.get_render(
            camera.image_height, camera.image_width, transport_format="png"
        )
        image = Image.new("RGBA", pixels.shape[1::-1], "white")
        image.alpha_composite(Image.fromarray(pixels))
        image.convert("RGB").save(data, "PNG")
        event.client.send_file_download(
            self._file("png"), data.getvalue(), save_immediately=True
        )

    def _on_page(self, event: Any) -> None:
        with self._lock:
            page = self.page(event.client.camera).encode()
        event.client.send_file_download(self._file("html"), page, save_immediately=True)

    def _on_overview(self, event: Any) -> None:
        self._canvas.overview([event.client])

    def _file(self, ending: str) -> str:
        now = datetime.datetime.now().strftime("%H%M%S")
        return f"{self._view.scene.name}-{now}.{ending}"

    def _list_answers(self) -> None:
        """List the regions of every source that is shown; a click flies there."""
        gui, view = self._server.gui, self._view
        for each in self._listed:
            each.remove()
        self._listed = []
        with self._answers:
            for index, name in enumerate(view.shown):
                if len(view.shown) > 1 or not view.regions(name):
                    told = name if view.regions(name) else f"{name}: no answer"
                    told = told if view.question else "Type what to find, then Enter."
                    self._listed.append(gui.add_html(_small(told)))
                for number, region in enumerate(view.regions(name)):
                    size = " x ".join(f"{edge:.1f}" for edge in region.size_m)
                    button = gui.add_button(
                        f"{view.label(name, number)}  \u00b7  {size} m", color="gray"
                    )
                    button.on_click(functools.partial(self._on_answer, index, region))
                    self._listed.append(button)

    def _on_answer(self, index: int, region: Region, event: Any) -> None:
        self._canvas.fly_to_box(event.client, index, region.center_m, region.size_m)

    def _list_classes(self) -> None:
        """List the classes that are there, each with a box in its colour."""
        gui, view = self._server.gui, self._view
        present = view.present()
        if self._present == present:
            return
        self._present = present
        for each in self._classes_listed:
            each.remove()
        self._classes_listed = []
        with self._classes:
            style = []
            for index in present:
                box = gui.add_checkbox(
                    view.labels.classes.names[index], index not in view.hidden
                )
                box.on_update(functools.partial(self._on_class, index))
                color = "#" + "".join(f"{v:02x}" for v in view.labels.palette[index])
                style.append(
                    f'[id="{box._impl.uuid}"]{{border:2px solid {color}!important}}'
                    f'[id="{box._impl.uuid}"]:checked{{background:{color}!important}}'
                )
                self._classes_listed.append(box)
            paint = gui.add_html(f"<style>{''.join(style)}</style>")
            self._classes_listed.append(paint)

    def _on_class(self, index: int, event: Any) -> None:
        hide = self._view.hidden - {index} if event.target.value else None
        self._view.hidden = self._view.hidden | {index} if hide is None else hide
        self._guarded(event, lambda: None)

    def _draw_things(self) -> None:
        wanted = self._things.value
        boxes = []
        if wanted:
            names, found = self._view.instances.class_names, self._view.instances
            for each, kind in zip(self._view.things(), found.classes, strict=False):
                label = names[kind] if kind != NO_CLASS and names else ""
                boxes.append(Box(each.center_m, each.size_m, label, (40, 90, 200)))
        if wanted or self._things_drawn:
            self._canvas.boxes(_THINGS, 0, boxes)
        self._things_drawn = wanted


def _names(line: str) -> list[str]:
    """Return the names of a line; what stands between two commas is one."""
    return line.split(",") if line.strip() else []


def _small(text: str) -> str:
    style = "font-size:13px;opacity:0.75;margin:4px 10px"
    return f'<div style="{style}">{html.escape(text)}</div>'
