"""What a page makes of names, messages, unknown visitors and odd folders, in Streamlit's own test client."""

from pathlib import Path

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import pytest
from streamlit.testing.v1 import AppTest

from influence_core.intake import uploads
from pages.ui.charts import base as base_charts
from pages.ui.charts import overview as overview_charts
from pages.ui.shell import frame, places
from pages.ui.words import formats
from tests.app.brought import KEY, PREVIEW, bring, open_own
from tests.app.conftest import MAIN, PAGES, Open, texts
from tests.making.drawn_run import make_small_run
from tests.making.hostile_run import FAR, HOSTILE, make_hostile_run
from tests.making.markdown_sources import unsafe


@pytest.mark.parametrize("name", ["a__b", "a___b__", "a.b-c_", "x" * 100])
def test_a_run_of_any_folder_name_opens_on_every_page(open_app: Open, root: Path, name: str) -> None:
    make_small_run(root / name, n=24)
    for page in PAGES if name == "a__b" else ("overview", "outliers", "map", "review"):
        app = open_app(page, run=name)
        assert not app.exception, f"{page} makes a component's key of the folder's name"


def test_a_figure_makes_no_tag_of_a_name() -> None:
    link = f"<a href='http://{FAR}'>x</a>"
    table = pd.DataFrame([[1, 2], [3, 4]], index=[link, "b"], columns=[link, "b"])
    for figure in (
        overview_charts.confusion(table, theme="light"),
        base_charts.class_mix(np.array([0, 1]), [link, "b"], theme="light"),
        base_charts.probabilities(np.array([0.5, 0.5]), [link, "b"], theme="light"),
        base_charts.styled(go.Figure().update_xaxes(title_text=link), 100),
    ):
        drawn = figure.to_dict()
        for trace in drawn["data"]:
            trace.pop("customdata", None)  # comes back with a click, and is never drawn
        assert "<a" not in str(drawn), "plotly would draw a link to a stranger's server"


def test_a_name_with_a_sign_that_is_no_tag_stays_as_it_is_in_a_chart() -> None:
    figure = base_charts.class_mix(np.array([0, 1]), ["<=50K", ">50K"], theme="light")
    assert "<=50K" in str(figure.to_dict()) and "'>50K'" in str(figure.to_dict())
    for tag in ("<b>x</b>", "<A href='x'>", "<br/>", "</a>"):
        figure = base_charts.styled(go.Figure(go.Bar(x=[None, tag], y=[1, 2])), 100)
        assert "<" not in str(list(figure.data[0].x)), f"{tag} after a missing name is still a tag"


def test_two_names_never_share_the_key_of_a_component() -> None:
    names = ["a_b", "a__b", "a___b", "_a_b", "a_", "a", "b"]
    keys = {frame.key("map", name) for name in names}
    assert len(keys) == len(names) and not any("__" in key for key in keys)


def read_as_markdown(app: AppTest) -> str:
    """Every text and label of the page that the browser would read as markdown."""
    labelled = ("button", "selectbox", "checkbox", "radio", "slider", "text_input", "metric", "multiselect")
    labels = [str(getattr(element, "label", "")) for kind in labelled for element in app.get(kind)]
    values = [f"{element.value} {element.delta}" for element in app.metric]
    return "\n".join([texts(app), *labels, *values])


def test_names_of_a_dataset_are_plain_text_on_every_page(
    open_app: Open, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_hostile_run(root / "hostile", monkeypatch)
    for page in PAGES:
        app = open_app(page, run="hostile")
        assert not app.exception, page
        assert_plain(app, page)


def assert_plain(app: AppTest, page: str) -> None:
    shown = read_as_markdown(app)
    for sign in ("![x]", f"](http://{FAR}", f"http://{FAR}", f"www.{FAR}", f"@{FAR}", ":smile:", ":red[x]"):
        assert sign not in shown, f"{page} hands '{sign}' of a name to markdown"


def test_the_preview_of_a_hostile_dataset_is_plain_text(root: Path) -> None:
    many = {"classes": list(HOSTILE[:2]), "groups": {HOSTILE[0]: [[name, 3] for name in HOSTILE]}}
    said = {"notes": list(HOSTILE), "problems": list(HOSTILE), "skipped": [HOSTILE[1]]}
    upload = bring(root, answers={"preview": {**PREVIEW, **many, **said}})
    app = open_own(upload)
    assert not app.exception and HOSTILE[2].split(".")[0] in texts(app).replace(formats.JOINER, "")
    assert_plain(app, "the preview")
    refused = open_own(bring(root, answers={"preview": {"refused": " ".join(HOSTILE)}}))
    assert len(refused.error) == 1
    assert_plain(refused, "the refusal")


@pytest.mark.parametrize("text", HOSTILE)
def test_escaped_text_has_nothing_that_begins_an_address_or_a_picture(text: str) -> None:
    for made in (formats.escaped(text), formats.plain_sentence(text)):
        plain = made.replace("\\", "").replace(formats.JOINER, "")
        assert plain == text, "a name must be read as it is"
        unescaped = made.replace("\\", "")
        assert "://" not in unescaped and "www." not in unescaped and f"@{FAR}" not in unescaped
        assert ":smile:" not in unescaped and "[" not in made.replace("\\[", "")


def test_an_option_in_a_message_can_be_copied_and_a_lone_arrow_stays_as_it_is() -> None:
    said = formats.plain_sentence("Give --label COLUMN, for a <=50K class.")
    assert "--label COLUMN" in said and "\\<=50K" in said, "an invisible letter is copied with the option"
    for arrow in ("->", "<-", "<->", "--", "<=", ">=", "~="):
        assert formats.JOINER in formats.plain_sentence(f"a {arrow} b"), "Streamlit draws another sign"


def test_no_text_of_the_pages_reaches_markdown_before_it_was_made_plain() -> None:
    pages = sorted(path for path in MAIN.parents[1].rglob("*.py") if path.name != "formats.py")
    assert list(unsafe(pages)) == [], "wrap names in formats.escaped and sentences in formats.plain_sentence"


@pytest.mark.parametrize(
    "line",
    [
        "st.error(str(error))",
        "st.caption(f'Group {name}')",
        "column.metric('A', name)",
        "st.radio('A', names)",
        "st.selectbox('A', names, help=name)",
        "st.dataframe(x, column_config={'A': st.column_config.Column('A', help=name)})",
        "st.markdown(' '.join(f'**{name}**' for name in names))",
        "text = name\n    st.markdown(text)",
    ],
)
def test_the_law_of_markdown_sees_what_it_forbids(tmp_path: Path, line: str) -> None:
    (tmp_path / "page.py").write_text(f"def page(name, names, error):\n    {line}\n")
    assert list(unsafe([tmp_path / "page.py"])), f"{line} was overlooked"


def test_messages_name_files_as_their_owner_does(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INFLUENCE_DATA", str(root.parent / "data"))
    mine = f"{root}/{uploads.FOLDER}/{'0' * 32}"
    for before, after in (
        (f"{mine}/store/train/cat/1.png cannot be read.", "train/cat/1.png cannot be read."),
        (f"'{mine}/toys.csv', line 3", "'toys.csv', line 3"),
        (f"The run in {root}/small is damaged.", "The run in small is damaged."),
        (f"{root.parent}/data/flowers/a.png: not a picture", "flowers/a.png: not a picture"),
        ("/elsewhere/x.png and a/b.png", "/elsewhere/x.png and a/b.png"),
    ):
        assert places.as_named(before) == after


def test_a_path_outside_the_folders_is_refused_without_naming_them(root: Path) -> None:
    for path in ("/etc/passwd", "no/such/folder"):
        with pytest.raises(places.DataError) as refusal:
            places.permitted(path, "dataset")
        assert str(Path.cwd()) not in str(refusal.value) and "INFLUENCE_DATA" in str(refusal.value)


def test_a_run_is_not_called_gone_before_the_browser_was_asked_for_its_key(
    open_app: Open, root: Path
) -> None:
    upload = uploads.begin(root, f"browser {KEY}")
    make_small_run(root / "mine", n=24)
    (root / "mine" / "job.json").write_text(
        f'{{"format": 1, "dataset": "d", "model": "m", "name": "mine", "upload": "{upload.id}"}}'
    )
    app = open_app("overview", run="mine")
    assert "Looking for the run" in texts(app) and "not on this server" not in texts(app)
    app.session_state["_browser_keys"] = [KEY]
    app.session_state["_browser_answered"] = True
    app.run()
    assert app.selectbox(key="run").value == "mine" and "Suspicion of all samples" in texts(app)
    app = open_app("overview", run="gone")
    app.session_state["_browser_answered"] = True
    assert "not on this server" in texts(app.run())


def test_pages_of_a_server_with_roles_and_no_sign_in_show_nothing(
    open_app: Open, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where the script is run without app.py, which refuses to start."""
    make_small_run(root / "small", n=24)
    monkeypatch.setenv("INFLUENCE_ROLES", "viewer: eve@lab.org")
    app = open_app("start", run="small")
    assert "sign-in" in app.error[0].value and not app.selectbox and not app.button
