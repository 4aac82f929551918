"""`severable-coordinator`: the operator's command line. One file per noun; every command works on a home directory."""

from severable_coordinator.adapters.cli.app import main

__all__ = ["main"]
