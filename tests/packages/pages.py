"""Commands in the pages of docs/install, so that checks run them as written."""

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
