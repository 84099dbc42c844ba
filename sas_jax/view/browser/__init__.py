"""Scenes in a web browser, by viser: what is drawn, its colours, a page to pass on."""
