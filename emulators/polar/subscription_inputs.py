"""The one form in which a subscription is updated: exactly one kind of change at a time."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, model_validator


class SubscriptionUpdate(BaseModel):
    """Cancel or resume, revoke, or switch the product; of these, one."""

    model_config = ConfigDict(extra="forbid")

    product_id: str | None = None
    proration_behavior: Literal["invoice", "prorate", "next_period", "reset"] | None = None
    metadata: dict[str, str | int | float | bool] | None = None
    cancel_at_period_end: bool | None = None
    revoke: Literal[True] | None = None
    customer_cancellation_reason: Literal[
        "customer_service", "low_quality", "missing_features", "switched_service", "too_complex", "too_expensive",
        "unused", "other"] | None = None
    customer_cancellation_comment: str | None = None

    @model_validator(mode="after")
    def _one_kind(self) -> Self:
        switched = self.product_id is not None or self.metadata is not None
        kinds = [switched, self.cancel_at_period_end is not None, self.revoke is not None]
        if sum(kinds) != 1:
            raise ValueError("Exactly one kind of update is possible at a time.")
        return self
