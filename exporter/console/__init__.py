"""The web page: no build step, no external assets."""
