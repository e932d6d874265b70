"""Reading connections to their end, and vendor nodes into our models."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from core.adapters.http import ServerFault
from core.adapters.shopify.client import GraphQL

Model = TypeVar("Model", bound=BaseModel)


def pages(
    graphql: GraphQL,
    name: str,
    document: str,
    path: tuple[str, ...],
    variables: Mapping[str, Any],
    after: str | None = None,
) -> Iterator[list[Any]]:
    """The nodes of a connection, a page at a time, starting behind the cursor `after`."""
    while True:
        connection = _at(name, graphql.run(name, document, {**variables, "after": after}), path)
        yield connection["nodes"]
        info = connection["pageInfo"]
        if not info["hasNextPage"]:
            return
        after = info["endCursor"]


def as_model(model: type[Model], node: Any, name: str) -> Model:
    """Raises ServerFault for a node that its own schema does not allow: the next read may bring a whole one."""
    try:
        return model.model_validate(node)
    except ValidationError as error:
        place = ".".join(str(step) for step in error.errors(include_url=False, include_input=False)[0]["loc"])
        raise ServerFault(name, f"an answer that cannot be read at {place}") from None


def _at(name: str, data: Any, path: tuple[str, ...]) -> Any:
    for step in path:
        data = data.get(step) if isinstance(data, dict) else None
    if not isinstance(data, dict) or "nodes" not in data:
        raise ServerFault(name, "what was asked for is not there (any more)")
    return data
