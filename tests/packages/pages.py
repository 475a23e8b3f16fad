"""Parts of the documentation: commands, which checks run as written, and links."""

import re

from support import ROOT


def code_blocks(page, language):
    """Returns the code blocks of a page that are in a language: a list of texts for each heading."""
    blocks = {}
    pattern = re.compile(r"^#+ (?P<heading>[^\n]*)$|^```(?P<language>\w*)\n(?P<text>.*?)^```$", re.M | re.S)
    heading = None
    for match in pattern.finditer((ROOT / page).read_text()):
        if match["heading"]:
            heading = match["heading"]
        elif match["language"] == language:
            blocks.setdefault(heading, []).append(match["text"])
    return blocks


def without_code(text):
    """Returns a page without blocks of code."""
    return re.sub(r"^( *)```.*?^\1```$", "", text, flags=re.MULTILINE | re.DOTALL)


def anchors(text):
    """Returns the anchors that GitHub gives to the headings of a page."""
    found = []
    for heading in re.findall(r"^#{1,6} (.+)$", without_code(text), re.MULTILINE):
        heading = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).lower().strip()
        anchor = re.sub(r"[^\w\- ]", "", heading).replace(" ", "-")
        found.append(anchor if anchor not in found else f"{anchor}-{found.count(anchor)}")
    return found


def links(text):
    """Returns the targets of links in a page that are no URLs."""
    targets = re.findall(r"\]\(([^)\s]+)\)", re.sub(r"`[^`\n]*`", "", without_code(text)))
    return [target for target in targets if not re.match(r"[a-z]+:", target)]
