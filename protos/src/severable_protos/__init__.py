"""The wire format between owners and coordinator."""
