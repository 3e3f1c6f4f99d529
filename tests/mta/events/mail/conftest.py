from pathlib import Path

import pytest

from mta.events.mail.bounce_phrases import BouncePhrases
from mtascope.resources import bounce_phrases

MAILS = Path(__file__).parents[3] / "data" / "mail"


@pytest.fixture(scope="session")
def phrases() -> BouncePhrases:
    return bounce_phrases()


@pytest.fixture(scope="session")
def mails() -> Path:
    return MAILS
