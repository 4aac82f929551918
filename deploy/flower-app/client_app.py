"""The data owner's side of the app: the installed one. Nodes with our executor do not even import this file."""

from severable_client.adapters.flower_app import app

__all__ = ["app"]
