#!/usr/bin/env python3
"""The messages of the programs: what their sources can print as error or warning.

    tests/tools/messages.py            all, as the manual spells them, with their places
    tests/tools/messages.py --missing  those that manual/when-something-goes-wrong.md lacks
    tests/tools/messages.py --stale    entries of that chapter that no source prints

A message is spelled as in the chapter: each %-part is "...". An entry of the chapter is
a list item that begins with one or more messages in `code`, and then says what to do.
"""
import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
CHAPTER = ROOT / "manual" / "when-something-goes-wrong.md"
FOLDERS = ("common", "formats", "kernels", "tiltrec", "tiltrecz")

# What prints, and which of its arguments is the sentence: the format itself, or, for a
# function that puts its own words around it, a part that the chapter names as well.
PRINTERS = {"tr_fail": 1, "tr_warn": 0, "tr_hdf_fail": 1}
TOKEN = re.compile(r'/\*.*?\*/|//[^\n]*|"(?:[^"\\\n]|\\.)*"|\'(?:[^\'\\\n]|\\.)*\''
                   r'|[A-Za-z_]\w*|[^\s]', re.DOTALL)
CONVERSION = re.compile(r"%[-+ #0]*(?:\d+|\*)?(?:\.(?:\d+|\*))?(?:hh|h|ll|l|z|j|t|L)?"
                        r"[diouxXeEfFgGaAcsp]")
ESCAPES = {"\\n": "\n", "\\t": "\t", '\\"': '"', "\\\\": "\\"}


def literal(token):
    return re.sub(r"\\.", lambda m: ESCAPES.get(m.group(), m.group()), token[1:-1])


def spelled(format_):
    """The format as the chapter has it: "..." for what varies, "%" for "%%"."""
    text = CONVERSION.sub("...", format_.replace("%%", "\0")).replace("\0", "%")
    text = re.sub(r"(?:\.\.\. ?)*\.\.\.", "...", text)  # "%s%s" is one unknown
    return " ".join(text.split())


def arguments(tokens, at):
    """The arguments of the call whose "(" is tokens[at], each a list of tokens."""
    depth, found = 0, [[]]
    for text, _ in tokens[at:]:
        if text in "([{":
            depth += 1
            if depth == 1:
                continue
        elif text in ")]}":
            depth -= 1
            if depth == 0:
                return found
        if text == "," and depth == 1:
            found.append([])
        else:
            found[-1].append(text)
    return found


def sentences(argument):
    """The strings an argument can be: one, or those between ? and : as well; None when
    it is no literal."""
    found, text = [], None
    for token in argument:
        if token.startswith('"'):
            text = (text or "") + literal(token)
        elif re.fullmatch(r"PRI[diouxX]\w+", token):
            text = (text or "").removesuffix("%") + "%d"
        elif text is not None:
            found.append(text)
            text = None
    if text is not None:
        found.append(text)
    return found or None


def messages_of(path):
    """(message, line) of each call in a source file; message None when it is no literal."""
    source = path.read_text()
    tokens = [(m.group(), m.start()) for m in TOKEN.finditer(source)
              if not m.group().startswith(("/*", "//"))]
    for i, (text, start) in enumerate(tokens[:-1]):
        if text not in PRINTERS or tokens[i + 1][0] != "(":
            continue
        given = arguments(tokens, i + 1)
        if i and tokens[i - 1][0] in ("tr_status", "void"):  # its declaration
            continue
        line = source.count("\n", 0, start) + 1
        for sentence in sentences(given[PRINTERS[text]]) or [None]:
            yield sentence and spelled(sentence), line


def all_messages():
    """{message: [places]}, and the places whose message is no literal. What only passes
    on another message ("%s") is left out."""
    found, opaque = {}, []
    for folder in FOLDERS:
        for path in sorted((ROOT / folder).rglob("*")):
            if path.suffix not in (".c", ".h", ".cu"):
                continue
            for message, line in messages_of(path):
                place = f"{path.relative_to(ROOT)}:{line}"
                if message is None:
                    opaque.append(place)
                elif message.strip(".: "):
                    found.setdefault(message, []).append(place)
    return found, opaque


def chapter_entries():
    """The messages that begin the chapter's list items."""
    found = []
    items = re.split(r"\n(?=- |\n|#)", CHAPTER.read_text()) if CHAPTER.exists() else []
    for item in items:
        if not item.startswith("- `"):
            continue
        text = " ".join(item[2:].split())
        while match := re.match(r"(?:, (?:or )?| ?or )?(`+) ?(.+?) ?\1(?!`)", text):
            found.append(match.group(2))
            text = text[match.end():]
    return found


def missing():
    entries = set(chapter_entries())
    return {m: places for m, places in all_messages()[0].items() if m not in entries}


def stale():
    messages = all_messages()[0]
    return [entry for entry in chapter_entries() if entry not in messages]


def main(arguments_):
    if arguments_ == ["--stale"]:
        gone = stale()
        print("\n".join(gone))
        return bool(gone)
    if arguments_ not in ([], ["--missing"]):
        sys.exit(__doc__)
    shown = missing() if arguments_ else all_messages()[0]
    for message, places in shown.items():
        quote = "``" if "`" in message else "`"
        print(f"- {quote}{message}{quote}  <!-- {', '.join(places)} -->")
    return bool(arguments_ and shown)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
