"""A report with every section."""

from __future__ import annotations

import pytest
from reported import SETTINGS, full_results, pictures

from pipelines.results.report import render


@pytest.fixture(scope="session")
def full_page():
    return render(full_results(), pictures(), SETTINGS)
