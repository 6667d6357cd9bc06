"""The dialog with the spend limit, the two plans and the way to Valyu."""

from __future__ import annotations

import reflex as rx

from chatapp.billing.catalog import PAY_PER_USE, UNLIMITED, Plan
from chatapp.components.addresses import api
from chatapp.components.icons import icon
from chatapp.components.native import Modal, post_form
from chatapp.state.plan import PlanDialog, SpendLimit
from chatapp.state.runtime import runtime
from chatapp.state.viewer import Viewer


def plan_dialog() -> rx.Component:
    """Closed until a limit is reached or somebody asks for it."""
    return Modal.create(
        rx.el.header(
            rx.el.h2(rx.cond(PlanDialog.reason != "", PlanDialog.reason, "Choose how you pay")),
            rx.el.button(icon("close"), type="button", class_name="icon-button", aria_label="Close",
                         on_click=PlanDialog.close),
        ),
        rx.cond(PlanDialog.resets != "",
                rx.el.p(rx.cond(Viewer.subscribed, "You can ask again from ", "You can ask again without a plan from "),
                        rx.el.strong(PlanDialog.resets), ".",
                        class_name="muted")),
        rx.cond(Viewer.problem != "", update_payment()),
        rx.cond(Viewer.limit != "", _spend_limit()),
        rx.cond(Viewer.signed_in, _offers(), _sign_up_first()),
        rx.el.p("Rather use the search yourself? ",
                rx.el.a("Become a Valyu customer", href=runtime().services.settings.valyu_signup_url, target="_blank",
                        rel="noopener"), ".", class_name="small muted"),
        open=PlanDialog.is_open, label="Plans", on_close=PlanDialog.close,
    )


def _spend_limit() -> rx.Component:
    """Where who pays per use says how much at most. Before the plans: to raise it is what most come for."""
    described = {"aria-invalid": rx.cond(SpendLimit.error != "", "true", "false"),
                 "aria-describedby": "limit-said limit-hint"}
    return rx.el.form(
        rx.el.label("Spending limit per period, in dollars", html_for="limit"),
        rx.el.div(
            rx.el.input(id="limit", name="limit", placeholder=Viewer.limit, required=True, input_mode="decimal",
                        auto_complete="off", custom_attrs=described),
            rx.el.button("Change limit", type="submit", class_name="button"),
            class_name="row",
        ),
        rx.el.div(
            rx.cond(SpendLimit.error != "", rx.el.p(SpendLimit.error, class_name="error-text", role="alert")),
            rx.el.p(SpendLimit.saved, role="status"),
            id="limit-said"),
        rx.el.p("Now ", rx.el.strong(Viewer.limit), ", of which ", rx.el.strong(Viewer.spent),
                " is used. Nothing is answered beyond it.", id="limit-hint", class_name="hint"),
        on_submit=SpendLimit.save, class_name="field spend-limit",
    )


def update_payment() -> rx.Component:
    """The way to the portal for somebody whose payment failed."""
    return post_form(rx.el.button("Update payment method", type="submit", class_name="button"),
                     action=api("/api/billing/portal"))


def _offers() -> rx.Component:
    percent = int(PAY_PER_USE.markup * 100)
    return rx.el.div(
        _offer(PAY_PER_USE, f"Cost + {percent} %",
               "You pay what an answer cost us, model, search and code, plus "
               f"{percent} %. Every answer shows its price. Nothing is rounded up; billed monthly."),
        _offer(UNLIMITED, f"${UNLIMITED.price_usd_per_month:,.0f} a month",
               "Everything, for one price. Answers still show what they would have cost."),
        class_name="plans",
    )


def _offer(plan: Plan, amount: str, text: str) -> rx.Component:
    return rx.el.section(
        rx.el.h3(plan.name), rx.el.div(amount, class_name="amount"), rx.el.p(text, class_name="small"),
        rx.cond(
            Viewer.plan_key == plan.key,
            rx.el.button("Your plan", type="button", disabled=True, class_name="button wide"),
            post_form(
                rx.el.input(type="hidden", name="plan", value=plan.key),
                rx.el.button(f"Choose {plan.name.lower()}", type="submit", class_name="button primary wide"),
                action=api("/api/billing/checkout"),
            ),
        ),
        class_name="plan", aria_label=plan.name,
    )


def _sign_up_first() -> rx.Component:
    return rx.el.div(
        rx.el.section(
            rx.el.h3("Free"), rx.el.div("5 questions a day", class_name="amount"),
            rx.el.p("Sign up with your e-mail address. What you asked so far stays with you.", class_name="small"),
            rx.el.a("Sign up", href="/sign-up/", class_name="button primary wide"), class_name="plan",
        ),
        rx.el.section(
            rx.el.h3("Without limits"), rx.el.div("Cost + 20 %, or $200 a month", class_name="amount"),
            rx.el.p("Choose a plan after you signed up or signed in.", class_name="small"),
            rx.el.a("Sign in", href="/sign-in/", class_name="button wide"), class_name="plan",
        ),
        class_name="plans",
    )
