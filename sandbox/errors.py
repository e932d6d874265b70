"""What the control API refuses, with a word for programs and a sentence for people."""


class Refused(Exception):
    """The asked thing is impossible in this world; nothing was changed."""

    def __init__(self, code: str, message: str, status: int = 422) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.status = status


class NotFound(Refused):
    """The thing named in the call does not exist."""

    def __init__(self, what: str, name: object) -> None:
        super().__init__("not_found", f"No {what} {name!r}.", 404)
