"""The form of ingested events. The class names appear in Polar's error answers, and so do these."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Annotated, Any, NotRequired

from pydantic import (
    UUID4,
    AfterValidator,
    AwareDatetime,
    BaseModel,
    Field,
    GetCoreSchemaHandler,
    StringConstraints,
    TypeAdapter,
    ValidationInfo,
)
from pydantic_core import CoreSchema, core_schema
from typing_extensions import TypedDict

NAME_LENGTH = 128
VALUE_LENGTH = 500


def _in_the_past(value: datetime, info: ValidationInfo) -> datetime:
    """No skew is tolerated; the context carries the emulated time."""
    now = (info.context or {}).get("now") or datetime.now(UTC)
    if value > now:
        raise ValueError("Timestamp must be in the past.")
    return value


class Cost(TypedDict):
    """What the event cost its sender, in cents. It bills nothing."""

    amount: Annotated[Decimal, Field(max_digits=17, decimal_places=12)]
    currency: Annotated[str, Field(pattern="usd")]


class Llm(TypedDict):
    """The model call behind the event."""

    vendor: str
    model: str
    prompt: NotRequired[str | None]
    response: NotRequired[str | None]
    input_tokens: int
    cached_input_tokens: NotRequired[int]
    output_tokens: int
    total_tokens: int


_cost, _llm = TypeAdapter(Cost), TypeAdapter(Llm)


class _Metadata:
    """Any keys with text, numbers or booleans; `_cost` and `_llm` have forms of their own."""

    @classmethod
    def __get_pydantic_core_schema__(cls, source: object, handler: GetCoreSchemaHandler) -> CoreSchema:
        value = core_schema.union_schema([
            core_schema.str_schema(min_length=1, max_length=VALUE_LENGTH),
            core_schema.int_schema(),
            core_schema.float_schema(),
            core_schema.bool_schema(),
        ])
        return core_schema.typed_dict_schema(
            {"_cost": core_schema.typed_dict_field(_cost.core_schema, required=False),
             "_llm": core_schema.typed_dict_field(_llm.core_schema, required=False)},
            extras_schema=value,
            extra_behavior="allow",
        )


class _EventCreate(BaseModel):
    timestamp: Annotated[AwareDatetime, AfterValidator(_in_the_past)] | None = None
    name: Annotated[str, StringConstraints(max_length=NAME_LENGTH)]
    external_id: str | None = None
    parent_id: str | None = None
    metadata: Annotated[dict[str, Any], _Metadata] = Field(default_factory=dict)


class EventCreateCustomer(_EventCreate):
    """An event of a customer named by Polar's id."""

    customer_id: UUID4


class EventCreateExternalCustomer(_EventCreate):
    """An event of a customer named by the organization's own id, who need not exist yet."""

    external_customer_id: str


class EventsIngest(BaseModel):
    """A batch of events."""

    events: list[EventCreateCustomer | EventCreateExternalCustomer]
