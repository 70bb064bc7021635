"""Who may do what: with sign-in nobody enters who is not on the list, and each role ends where it should."""

import pytest

from influence_core.errors import AccessError
from influence_core.runs.run import Run
from pages.ui.samples import writing
from pages.ui.shell import state, visitor
from tests.app.conftest import Open, texts


@pytest.mark.parametrize(
    ("email", "role"),
    [
        ("ada@lab.org", "owner"),
        ("ADA@Lab.org", "owner"),
        ("bob@lab.org", "annotator"),
        ("eve@labels.org", "annotator"),
        ("eve@lab.org", "viewer"),
        ("eve@evil-lab.org", None),
        ("ada@lab.org@evil.org", None),
        ("eve@sub.lab.org", None),
        ("", None),
        (None, None),
    ],
)
def test_a_role_comes_from_the_list_and_from_nowhere_else(sign_in, email, role) -> None:
    sign_in(email)
    assert visitor.role() == role


def test_an_unverified_address_and_an_empty_list_admit_nobody(sign_in, monkeypatch) -> None:
    sign_in("ada@lab.org", email_verified=False)
    assert visitor.role() is None, "anybody can claim an address that nobody has verified"
    sign_in("ada@lab.org")
    monkeypatch.setenv("INFLUENCE_ROLES", "")
    assert visitor.role() is None, "sign-in without a list must not mean that everybody is an owner"
    monkeypatch.setenv("INFLUENCE_ROLES", "admin: ada@lab.org")
    with pytest.raises(AccessError, match="admin"):
        visitor.role()


def test_without_sign_in_the_one_at_the_machine_is_its_owner() -> None:
    assert visitor.role() == "owner"


@pytest.mark.parametrize(("email", "shown"), [(None, "Sign in to see"), ("eve@evil.org", "not on the list")])
def test_who_is_not_admitted_sees_no_run(open_app: Open, run: Run, sign_in, email, shown) -> None:
    sign_in(email)
    app = open_app("start", run="small")
    assert not app.exception
    assert shown in texts(app) and "small" not in texts(app)
    assert not app.selectbox


def test_a_viewer_looks_and_decides_nothing(open_app: Open, run: Run, sign_in, monkeypatch) -> None:
    sign_in("eve@lab.org")
    app = open_app("review", run="small")
    assert not app.exception and not app.error
    with pytest.raises(AccessError, match="takes the role annotator"):
        writing.writer(state.OpenRun("small", run, None))({})  # type: ignore[arg-type]
    brought = open_app("own_data")
    assert "does not allow bringing data" in "\n".join(info.value for info in brought.info)


def test_an_annotator_decides_and_starts_nothing(open_app: Open, sign_in) -> None:
    sign_in("bob@lab.org")
    assert visitor.may("annotator") and not visitor.may("owner")
    app = open_app("start")
    demo = next(button for button in app.button if button.label == "Explore the demo")
    assert demo.disabled and "Only owners" in demo.help, "an annotator sees a button that would start work"


def test_uploads_of_a_signed_in_person_follow_the_person(sign_in) -> None:
    sign_in("ada@lab.org")
    assert visitor.owners() == ("person ada@lab.org",)
