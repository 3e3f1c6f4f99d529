"""The front door: command line, settings, and the wiring of all parts into processes."""

__version__ = "0.1.0"
