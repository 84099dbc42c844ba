"""A page to pass on: what is drawn now, in one file that needs no server."""

import html
from typing import Any


def static_page(server: Any, title: str, words: str) -> str:
    """Return HTML that shows the scene of a server, to be turned in any browser.

    It opens from a folder, without a network, and holds the points that are drawn and
    their colours, photographs too, where these are shown.

    Args:
      server: `viser.ViserServer`; its initial camera is where the page begins.
      title: of the page.
      words: HTML of its legend.
    """
    page = server.scene.as_html()
    note = (
        '<div style="position:fixed;left:12px;bottom:12px;z-index:10;max-width:24em;'
        "background:rgba(255,255,255,0.92);color:#222;border-radius:6px;padding:10px "
        '14px;font:14px system-ui,sans-serif;box-shadow:0 1px 6px rgba(0,0,0,0.25)">'
        f"<b>{html.escape(title)}</b>{words}</div>"
    )
    name = f"<title>{html.escape(title)}</title>"
    begin, end = page.index("<title>"), page.index("</title>") + len("</title>")
    page = page[:begin] + name + page[end:]
    end = page.rindex("</body>")
    return page[:end] + note + page[end:]
