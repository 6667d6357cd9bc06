"""The frame around every chat: sidebar, top line, settings menu."""

from __future__ import annotations

import reflex as rx
from reflex_base.style import LiteralColorMode, set_color_mode

from chatapp.components.addresses import api
from chatapp.components.icons import icon
from chatapp.components.native import Drawer, Skip, post_form
from chatapp.state.chats import Chats, ThreadView
from chatapp.state.plan import PlanDialog
from chatapp.state.runtime import runtime
from chatapp.state.viewer import Viewer

BRAND = "chatapp"


def frame(title: rx.Var[str] | str, *content: rx.Component, current: rx.Var[str] | str = "") -> rx.Component:
    """A page of the chat: `content` fills the two rows below the top line (what scrolls, and the composer).

    Where `title` is empty, the content brings the page's heading.
    """
    return rx.el.div(
        Skip.create("Skip to the question", target="question", fallback="main"),
        _sidebar(current),
        rx.el.main(
            rx.el.header(
                _popover_button("menu", "Your chats", "sidebar", "only-narrow"),
                rx.cond(title != "", rx.el.h1(title), rx.el.div(class_name="fill")),
                rx.cond(Viewer.loaded & ~Viewer.signed_in, _sign_in_link()),
                _popover_button("person", "Settings", "settings", ""),
                class_name="top",
            ),
            *content,
            id="main", class_name="main", tab_index=-1,
        ),
        _settings_menu(),
        class_name="frame",
    )


def _popover_button(name: str, label: str, target: str, class_name: str) -> rx.Component:
    return rx.el.button(icon(name), type="button", class_name=f"icon-button {class_name}", aria_label=label,
                        title=label, custom_attrs={"popoverTarget": target})


def _sign_in_link() -> rx.Component:
    return rx.el.a("Sign in", href="/sign-in/", class_name="button")


def _sidebar(current: rx.Var[str] | str) -> rx.Component:
    def line(thread: ThreadView) -> rx.Component:
        return rx.el.li(rx.el.a(thread.title, href=thread.href, title=thread.title,
                                custom_attrs={"aria-current": rx.cond(thread.id == current, "page", "false")}))

    return Drawer.create(
        rx.el.a(BRAND, href="/", class_name="brand"),
        rx.el.a(icon("plus"), "New chat", href="/", class_name="button"),
        rx.el.div(
            rx.el.h2("Chats"),
            rx.cond(
                Chats.threads,
                rx.el.ul(rx.foreach(Chats.threads, line)),
                rx.el.p(rx.cond(Chats.loaded, "Your chats will be listed here.", "Loading…"), class_name="empty"),
            ),
            class_name="list",
        ),
        _development_note(),
        id="sidebar", class_name="sidebar", label="Chats",
    )


def _development_note() -> rx.Component:
    settings = runtime().services.settings
    if not settings.emulated:
        return rx.fragment()
    return rx.el.p("Emulated: ", ", ".join(settings.emulated), ". ",
                   rx.el.a("Console and mail inbox", href=settings.emulators_url, target="_blank"),
                   class_name="empty")


def _settings_menu() -> rx.Component:
    return rx.el.div(
        rx.cond(Viewer.signed_in, _profile(), rx.cond(Viewer.loaded, _visitor())),
        rx.el.dl(
            rx.el.dt("Plan"), rx.el.dd(rx.cond(Viewer.known, Viewer.plan_name, rx.cond(Viewer.loaded, "Visitor", "…"))),
            rx.cond(Viewer.spent != "", rx.fragment(
                rx.el.dt("Used this period"),
                rx.el.dd(Viewer.spent, rx.el.br(), rx.el.span(Viewer.spent_note, class_name="muted small"),
                         id="used-this-period"))),
            rx.cond(Viewer.limit != "", rx.fragment(rx.el.dt("Spending limit"), rx.el.dd(Viewer.limit))),
            rx.cond(Viewer.quota_text != "", rx.fragment(rx.el.dt("Today"), rx.el.dd(Viewer.quota_text))),
            rx.cond(Viewer.ends_on != "", rx.fragment(rx.el.dt("Ends on"), rx.el.dd(Viewer.ends_on))),
        ),
        rx.el.hr(),
        rx.cond(Viewer.signed_in, rx.fragment(
            rx.el.button(rx.cond(Viewer.limit != "", "Plans and limit", "Plans"), type="button", class_name="item",
                         on_click=PlanDialog.show,
                         custom_attrs={"popoverTarget": "settings", "popoverTargetAction": "hide"}),
            rx.cond(Viewer.subscribed, post_form(
                rx.el.button("Manage subscription", type="submit", class_name="item"),
                action=api("/api/billing/portal"))),
            rx.el.hr(),
        )),
        _themes(),
        rx.cond(Viewer.signed_in, rx.fragment(
            rx.el.hr(),
            post_form(rx.el.button("Sign out", type="submit", class_name="item"), action=api("/api/auth/sign-out")))),
        id="settings", class_name="menu", role="dialog", aria_label="Settings", custom_attrs={"popover": "auto"},
    )


def _profile() -> rx.Component:
    return rx.el.div(
        rx.cond(Viewer.name != "", rx.el.strong(Viewer.name)),
        rx.el.span(Viewer.email, class_name="muted small"),
        class_name="who",
    )


def _visitor() -> rx.Component:
    return rx.el.div(
        rx.el.strong("You are not signed in"),
        rx.el.p(rx.el.a("Sign up", href="/sign-up/"), " to keep your chats, or ",
                rx.el.a("sign in", href="/sign-in/"), ".", class_name="small"),
        class_name="who",
    )


def _themes() -> rx.Component:
    def choice(label: str, mode: LiteralColorMode) -> rx.Component:
        return rx.el.button(label, type="button", on_click=set_color_mode(mode),
                            custom_attrs={"aria-pressed": rx.cond(rx.color_mode == mode, "true", "false")})

    return rx.el.div(choice("Auto", "system"), choice("Light", "light"), choice("Dark", "dark"),
                     class_name="themes", role="group", aria_label="Colours")
