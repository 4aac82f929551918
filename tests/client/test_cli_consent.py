"""The command line: an owner looks at a recipe, and approves or refuses it."""

import io
import json
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from client.samples import NONCE, RECIPE
from client.terminal import Terminal, refused

from severable_client.adapters.config import read_config, write_config
from severable_client.bootstrap import job_desk, open_home
from severable_client.consent import Rule
from severable_client.ports import JobRequest, JobState


def asking(home: Path) -> Path:
    path = home / "config.yaml"
    write_config(path, replace(read_config(path), approve=Rule.ASK))
    return home


def waiting_job(home: Path) -> str:
    """A job that the coordinator asked for and that waits for the owner; returns its id."""
    (record,) = open_home(home).contracts.all()
    request = JobRequest(task="t", nonce=NONCE, contract=record.id, recipe=str(RECIPE))
    assert job_desk(home)(request).state is JobState.UNAPPROVED
    return open_home(home).jobs.all()[0].id


def test_an_owner_sees_a_recipe_in_plain_words_and_approves_it(
    run: Terminal, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run("contract", "sign", "--home", asking(home), "--yes")
    job = waiting_job(home)
    assert run("status", "--home", home) == 0
    assert f"severable-client approve {RECIPE.hex[:12]}" in run.out
    monkeypatch.setattr(sys, "stdin", io.StringIO("y\n"))
    assert run("approve", job[:8], "--home", home) == 0
    assert "8x8 grey images" in run.out
    assert "is approved; 1 jobs had waited" in run.out
    assert open_home(home).jobs.all()[0].report.state is JobState.QUEUED
    assert run("approvals", "--home", home, "--format", "json") == 0
    (row,) = json.loads(run.out)
    assert (row["recipe"], row["decision"], row["jobs_waiting"]) == (str(RECIPE), "approved", "0")
    assert row["by"]
    assert row["at"].endswith("Z")
    assert open_home(home).journal.all()[-1].what.startswith("recipe approved by")


def test_an_owner_refuses_a_recipe_and_its_job_is_over(run: Terminal, home: Path) -> None:
    run("contract", "sign", "--home", asking(home), "--yes")
    waiting_job(home)
    assert run("approvals", "--home", home) == 0
    assert "not decided" in run.out
    assert run("refuse", "--home", home, "--yes", "--format", "json") == 0
    assert json.loads(run.out)["decision"] == "refuse"
    assert open_home(home).jobs.all()[0].report.state is JobState.REFUSED


def test_no_answer_to_the_question_is_no_approval(run: Terminal, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run("contract", "sign", "--home", asking(home), "--yes")
    waiting_job(home)
    monkeypatch.setattr(sys, "stdin", io.StringIO())
    assert run("approve", "--home", home) == 1
    assert open_home(home).jobs.all()[0].report.state is JobState.UNAPPROVED


@pytest.mark.parametrize("what", ["", "ab", "0000", "sha256:zzzz"])
def test_what_names_no_recipe_is_not_approved(run: Terminal, home: Path, what: str) -> None:
    assert "severable-client" in refused(run, "approve", what, "--home", home, "--yes")
    assert open_home(home).approvals.all() == ()
