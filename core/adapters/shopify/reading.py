"""Reading connections to their end, and vendor nodes into our models."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from core.adapters.http import ServerFault
from core.adapters.shopify.client import GraphQL

DEPTH_MAX = 25_000
"""How many objects Shopify pages through (shopify.dev/docs/api/usage/limits)."""

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


def walk(
    graphql: GraphQL,
    name: str,
    document: str,
    path: tuple[str, ...],
    variables: Mapping[str, Any],
    search: Callable[[Any], str],
) -> Iterator[list[Any]]:
    """All nodes of a sorted connection, by page, however many there are.

    A connection gives no more than `DEPTH_MAX` objects and then looks as if it had ended. Where that many came, it is
    asked anew for what begins at the last one: `search` makes the query of a node's sort key. What the new one shows
    again is given again. Raises ServerFault where so many share a key that this leads nowhere.
    """
    while True:
        came, last = 0, None
        for page in pages(graphql, name, document, path, variables):
            came += len(page)
            last = page[-1] if page else last
            # Whoever gets the page may change its nodes.
            query = search(last) if last is not None else None
            yield page
        if came < DEPTH_MAX or query is None:
            return
        if query == variables.get("query"):
            raise ServerFault(name, f"more than {DEPTH_MAX:,} objects share one sort key")
        variables = {**variables, "query": query}


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
