"""`severable-client`: the data owner's command line. One file per noun; every command works on a home folder."""

from severable_client.adapters.cli.app import main

__all__ = ["main"]
