"""Errors as JSON:API writes them."""

from dataclasses import dataclass
from typing import Any
from uuid import uuid4


@dataclass(frozen=True)
class Problem:
    """What is wrong with one thing that was asked; `pointer` says where in the body, `parameter` where in the query."""

    code: str
    title: str
    detail: str
    pointer: str | None = None
    parameter: str | None = None

    def as_json(self, status: int | None = None) -> dict[str, Any]:
        """With the status for an answer; without it as a job keeps it."""
        said: dict[str, Any] = {"id": str(uuid4())}
        if status is not None:
            said["status"] = status
        said |= {"code": self.code, "title": self.title, "detail": self.detail}
        where = {"pointer": self.pointer, "parameter": self.parameter}
        return {**said, "source": {name: place for name, place in where.items() if place is not None}}


class Denied(Exception):
    """Turned into one of the vendor's error lists."""

    def __init__(self, status: int, *problems: Problem, meta: dict[str, Any] | None = None) -> None:
        super().__init__(problems[0].detail)
        self.status = status
        self.problems = problems
        self.meta = meta

    def as_json(self) -> dict[str, Any]:
        errors = [problem.as_json(self.status) for problem in self.problems]
        if self.meta is not None:
            errors[0]["meta"] = self.meta
        return {"errors": errors}


def invalid(detail: str, pointer: str) -> Problem:
    """Of something in the body."""
    return Problem("invalid", "Invalid input.", detail, pointer)


def bad_parameter(detail: str, parameter: str) -> Denied:
    return Denied(400, Problem("invalid", "Invalid input.", detail, parameter=parameter))


def not_found(detail: str, pointer: str = "/data") -> Problem:
    return Problem("not_found", "Not found.", detail, pointer)


def conflict(detail: str, pointer: str) -> Problem:
    return Problem("conflict", "Conflict.", detail, pointer)
