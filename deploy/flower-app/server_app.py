"""The coordinator's side of the app: the installed one."""

from severable_coordinator.adapters.flower_app import app

__all__ = ["app"]
