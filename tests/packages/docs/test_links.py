"""Links in the documentation: each file and each heading exists."""

import subprocess
import unittest

import support
from pages import anchors, links


def tracked_pages():
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", "*.md"],
        cwd=support.ROOT, capture_output=True, text=True, check=True,
    )
    return [support.ROOT / name for name in listed.stdout.split("\0") if name and (support.ROOT / name).exists()]


class Links(unittest.TestCase):
    def test_each_link_of_each_page_leads_to_a_file_and_a_heading(self):
        mistakes, checked = [], 0
        for page in tracked_pages():
            for target in links(page.read_text()):
                checked += 1
                name, _, anchor = target.partition("#")
                file = (page.parent / name).resolve() if name else page
                if not file.exists():
                    mistakes.append(f"{page.relative_to(support.ROOT)}: no file {name}")
                elif anchor and file.suffix == ".md" and anchor not in anchors(file.read_text()):
                    mistakes.append(f"{page.relative_to(support.ROOT)}: no heading for {target}")
        self.assertEqual([], mistakes)
        self.assertGreater(checked, 200)

    def test_each_page_of_an_installation_is_linked_from_operations(self):
        operations = links((support.ROOT / "docs/OPERATIONS.md").read_text())
        pages_of_installations = {f"install/{path.name}" for path in (support.ROOT / "docs/install").glob("*.md")}
        self.assertEqual(set(), pages_of_installations - {target.partition("#")[0] for target in operations})

    def test_wrong_links_are_found(self):
        text = "# A [b](c.md) `d`: e\n\n## A\n\n```sh\n# no heading\n[x](y.md)\n```\n\n[z](#a) `[q](r.md)`\n"
        self.assertEqual(["a-b-d-e", "a"], anchors(text))
        self.assertEqual(["c.md", "#a"], links(text))


if __name__ == "__main__":
    unittest.main()
