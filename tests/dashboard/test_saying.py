"""What a write left to be said is said, and a dialog opens, whichever run of the page comes to its end."""

from __future__ import annotations

from streamlit.testing.v1 import AppTest


def page() -> None:
    import streamlit as st

    from dashboard import components

    def write() -> None:
        components.say_later("Two jobs are done again.")

    said = components.say()
    if st.session_state.pop("interrupts", False):
        # As when something else asks for another run in the middle of this one: nothing of this may ever arrive.
        st.stop()
    st.button("Write", on_click=write)
    components.has_arrived(said)


def toasts(run: AppTest) -> list[str]:
    return [toast.value for toast in run.toast]


def test_it_is_said_once() -> None:
    run = AppTest.from_function(page, default_timeout=200).run()
    assert toasts(run.button[0].click().run()) == ["Two jobs are done again."]
    assert toasts(run.run()) == []


def test_a_run_that_is_interrupted_does_not_swallow_it() -> None:
    run = AppTest.from_function(page, default_timeout=200).run()
    run.session_state["interrupts"] = True
    run.button[0].click().run()
    assert toasts(run.run()) == ["Two jobs are done again."]
    assert toasts(run.run()) == []


def page_with_dialog() -> None:
    import streamlit as st

    from dashboard import components

    def draw() -> None:
        st.button("Do it")
        if kind := st.session_state.pop("interrupts", None):
            if kind == "fault":
                raise ValueError
            st.stop()

    if st.button("Ask…"):
        components.open_dialog(st.dialog("Do it?")(draw))
    components.open_waiting_dialog()
    components.has_arrived(None)


def labels(run: AppTest) -> list[str]:
    return [button.label for button in run.button]


def test_a_dialog_is_opened_once() -> None:
    run = AppTest.from_function(page_with_dialog, default_timeout=200).run()
    assert labels(run.button[0].click().run()) == ["Ask…", "Do it"]
    assert labels(run.run()) == ["Ask…"]


def test_a_run_that_is_interrupted_does_not_swallow_the_dialog() -> None:
    run = AppTest.from_function(page_with_dialog, default_timeout=200).run()
    run.session_state["interrupts"] = "stop"
    run.button[0].click().run()
    assert labels(run.run()) == ["Ask…", "Do it"]
    assert labels(run.run()) == ["Ask…"]


def test_a_dialog_that_cannot_be_drawn_does_not_come_again() -> None:
    run = AppTest.from_function(page_with_dialog, default_timeout=200).run()
    run.session_state["interrupts"] = "fault"
    run.button[0].click().run()
    assert len(run.exception) == 1
    assert labels(run.run()) == ["Ask…"]
    assert not run.exception
