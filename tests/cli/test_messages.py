"""The manual's chapter of messages has every one that the sources can print, and no other.

tests/tools/messages.py --missing prints those to be added, --stale those to be removed.
"""
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tools"))
import messages  # noqa: E402


def test_every_message_is_in_the_manual():
    missing = messages.missing()
    assert not missing, "for manual/when-something-goes-wrong.md:\n" + "\n".join(
        f"- `{message}`: ...  ({', '.join(places)})" for message, places in missing.items())


def test_the_manual_has_no_messages_that_are_gone():
    assert not messages.stale(), "to be taken out of manual/when-something-goes-wrong.md"


def test_every_message_is_a_literal():
    """Else the chapter cannot be compared with it; "%s" passes on another message."""
    _, opaque = messages.all_messages()
    assert not [place for place in opaque if not place.startswith("common/base/err.")]


def test_no_message_stands_twice_in_the_manual():
    entries = messages.chapter_entries()
    assert len(entries) > 100
    assert not {entry for entry in entries if entries.count(entry) > 1}


def test_messages_are_found_in_all_their_forms(tmp_path):
    source = tmp_path / "a.c"
    source.write_text('''
        tr_status tr_fail(tr_status status, const char *format, ...);
        /* tr_fail(TR_ERR_DATA, "in a comment") */
        return tr_fail(a ? X : Y, "%s, line %zu: " /* joined */
                                  "100 %% of %5.1f%s", f(a, "not this"), 1);
        tr_warn(plural ? "%d views" : "one \\"view\\"", n);
        tr_fail(TR_ERR_DATA, text);
    ''')
    assert [message for message, _ in messages.messages_of(source)] == [
        "..., line ...: 100 % of ...", "... views", 'one "view"', None]
