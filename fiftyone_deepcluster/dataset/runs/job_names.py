"""Names of jobs: the key of a run; the verb of another job and the key it is about, with a prefix no key can have."""

from __future__ import annotations

import re

_START = "job-"


def job_name(verb: str, about: str = "") -> str:
    """Name of a job that is no run.

    Args:
        verb: what it does, an identifier such as ``probe_layers``.
        about: key of the run or audit that it is about, if there is one.
    """
    return f"{_START}{verb}-{about}" if about else f"{_START}{verb}"


def is_run(name: str) -> bool:
    """Whether the job is a clustering run; its name is its key."""
    return not name.startswith(_START)


def verb_of(name: str) -> str:
    """What a job does; empty for a run."""
    return "" if is_run(name) else name.removeprefix(_START).split("-", 1)[0]


def about_of(name: str) -> str:
    """Key of the run or audit that a job is about; empty if there is none."""
    return name if is_run(name) else name.removeprefix(_START).partition("-")[2]


def title_of(name: str) -> str:
    """What a job does, in words: ``Probe layers``; empty for a run."""
    return verb_of(name).replace("_", " ").capitalize().replace("dicom", "DICOM")


def in_words(name: str) -> str:
    """``run 'dc'``, or ``'Probe layers' of 'dc'``."""
    if is_run(name):
        return f"run {name!r}"
    return f"{title_of(name)!r}" + (f" of {about_of(name)!r}" if about_of(name) else "")


def pattern_of(name: str) -> str:
    """Regular expression of the name of a run and of the jobs about it, or of the name of a job."""
    own = re.escape(name)
    return f"({own}|{_START}[a-z_]+-{own})" if is_run(name) else own
