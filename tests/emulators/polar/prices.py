"""Prices that several tests use."""

FLAT = {"amount_type": "fixed", "price_amount": 20_000}
FREE = {"amount_type": "fixed", "price_amount": 0}


def per_unit(meter_id, cents, **fields):
    return {"amount_type": "metered_unit", "meter_id": meter_id, "unit_amount": cents, **fields}
