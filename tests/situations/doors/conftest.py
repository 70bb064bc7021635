"""The pages and the browser of tests/app and tests/browser, for the situations at the doors."""

from tests.app.conftest import open_app, root, run, sign_in  # noqa: F401
from tests.browser.conftest import browser, page  # noqa: F401
