"""Rule files are read strictly."""

import pytest

from mta.events.errors import SettingsError
from mta.events.reply import EnhancedStatus
from mta.events.reply_rule import matches, read_rules


def test_a_rule_file_gives_family_rules_and_silent_phrases():
    file = read_rules(
        b"""
        ignore = ["for more information"]
        [family]
        name = "acme"
        providers = ["acme-mail"]
        code = 'A\\d{3}'
        [[rule]]
        id = "acme.full"
        class = "mailbox_full"
        phrases = "box is full"
        enhanced = ["5.2.2", "5.7.606-608"]
        only_here = true
        """
    )
    (rule,) = file.rules
    assert file.family is not None
    assert file.family.providers == ("acme-mail",)
    assert file.ignore == ("for more information",)
    assert rule.phrases == ("box is full",)
    assert rule.enhanced == ("5.2.2", "5.7.606", "5.7.607", "5.7.608")
    assert rule.family is file.family


@pytest.mark.parametrize(
    ("scope", "code", "expected"),
    [
        ("5.1.1", "5.1.1", True),
        ("x.1.1", "4.1.1", True),
        ("5.1", "5.1.9", True),
        ("5.1.1", "4.1.1", False),
        ("x.1", "5.2.1", False),
    ],
)
def test_a_scope_holds_for_a_code(scope, code, expected):
    status = EnhancedStatus.parse(code)
    assert status is not None
    assert matches(scope, status) is expected


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("rule = [", "TOML"),
        ("[[rules]]", "rules"),
        ('[[rule]]\nclass = "unknown"\nphrases = "a"', "id"),
        ('[[rule]]\nid = "a"\nclass = "unknown"', "phrases or codes"),
        ('[[rule]]\nid = "a"\nclass = "unknown"\nphrases = "a"\nconfidence = 2.0', "confidence"),
        ('[[rule]]\nid = "a"\nclass = "unknown"\nphrases = "a"\nphase = "lunch"', "lunch"),
        ('[[rule]]\nid = "a"\nclass = "unknown"\nphrases = "a"\nonly_here = true', "family"),
        ('[[rule]]\nid = "a"\nclass = "unknown"\nphrase = "a"', "phrase"),
        ('[family]\nname = "a"', "providers"),
        ("[family]\nname = 'a'\nproviders = ['a']\ncode = '(a+)+'", "may not use"),
        ("[family]\nname = 'a'\nproviders = ['a']\ncode = '('", "regular expression"),
    ],
)
def test_what_is_wrong_is_refused_by_name(text, named):
    with pytest.raises(SettingsError, match=named):
        read_rules(text.encode())
