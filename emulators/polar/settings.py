"""What can be turned in the Polar emulator: limits and delays, as the real service has them where that is known."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Settings:
    """Limits and delays of the emulated service.

    Attributes:
        requests_per_minute: requests answered per organization and minute; more are answered 429 (500 in production).
        request_bytes: the largest request body; a larger one is answered 413.
        state_delay_seconds: how long a customer's state keeps showing what was, after a subscription or a benefit
            changed. The real one needs about 2 seconds.
        usage_delay_seconds: how long an event takes to be seen in a customer's state and meters. The real one needs
            about 16 seconds; 2 are enough to notice code that relies on it. Quantities of a meter are always exact.
        billing_seconds: how often received events are billed to the subscription that their customer then has.
        checkout_seconds: how long a checkout stays open.
        session_seconds: how long a customer session is valid.
        minimum_charge_cents: a smaller bill is carried forward to the next one instead of being charged.
        webhook_delays_seconds: the pauses between the attempts to deliver a webhook, in real time; one attempt more
            than there are pauses.
        webhook_timeout_seconds: how long a receiver may take to answer.
        failures_until_disabled: so many events in a row that were never delivered disable their endpoint.
        tick_seconds: how often the background task looks at the clock, in real time.
    """

    requests_per_minute: int = 500
    request_bytes: int = 10 * 1024 * 1024
    state_delay_seconds: float = 1.0
    usage_delay_seconds: float = 2.0
    billing_seconds: float = 900.0
    checkout_seconds: float = 24 * 3600.0
    session_seconds: float = 3600.0
    minimum_charge_cents: int = 50
    webhook_delays_seconds: tuple[float, ...] = (0.5, 1, 2, 5, 15, 60, 300, 600, 900)
    webhook_timeout_seconds: float = 10.0
    failures_until_disabled: int = 10
    tick_seconds: float = 1.0
