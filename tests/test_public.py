"""What an author may import is listed by ``dir`` and documented in the guide."""

import ast
import re

import eozoo
import eozoo_core
import pytest
from test_layers import ROOT

GUIDE = (ROOT / "docs" / "write_a_plugin.md").read_text()


@pytest.mark.parametrize("package", [eozoo, eozoo_core])
def test_dir_lists_the_public_names_and_each_is_there(package):
    assert set(package.__all__) <= set(dir(package))
    assert all(getattr(package, name) is not None for name in package.__all__)


def test_create_dataset_is_beside_the_others(tmp_path):
    with pytest.raises(eozoo_core.ZooError, match="no dataset 'no_such'"):
        eozoo.create_dataset("no_such")
    with pytest.raises(eozoo_core.ZooError, match="dataset 'sparse_tiles' has no option 'folder'"):
        eozoo.create_dataset("sparse_tiles", folder=tmp_path)


def test_the_guide_documents_every_helper_that_it_and_the_templates_use():
    code = re.findall(r"```python\n(.*?)```", GUIDE, re.DOTALL)
    code += [file.read_text() for file in (ROOT / "registry" / "eozoo" / "scaffold").rglob("*.py")]
    nodes = [node for text in code for node in ast.walk(ast.parse(text)) if isinstance(node, ast.ImportFrom)]
    used = {alias.name for n in nodes if (n.module or "").startswith("eozoo_core") for alias in n.names}
    prose = re.sub(r"```.*?```", "", GUIDE, flags=re.DOTALL)
    words = set(re.findall(r"\w+", " ".join(re.findall(r"`([^`\n]+)`", prose))))
    assert len(used) > 30
    assert used - words == set()
