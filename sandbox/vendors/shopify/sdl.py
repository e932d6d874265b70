"""The executable schema, and the codes that it allows."""

from functools import lru_cache
from pathlib import Path

from graphql import GraphQLEnumType, GraphQLScalarType, GraphQLSchema, build_schema


@lru_cache(maxsize=1)
def schema() -> GraphQLSchema:
    built = build_schema("\n".join(path.read_text() for path in sorted(Path(__file__).parent.glob("schema*.graphql"))))
    # The vendor writes these numbers as text, since they outgrow a double.
    number = built.type_map["UnsignedInt64"]
    assert isinstance(number, GraphQLScalarType)
    number.serialize = str  # type: ignore[assignment]
    return built


@lru_cache(maxsize=8)
def codes(enum: str) -> frozenset[str]:
    """The values of an enum of the schema."""
    kind = schema().type_map[enum]
    assert isinstance(kind, GraphQLEnumType)
    return frozenset(kind.values)
